"""Lecture 9's written example: formula, explicit rule and ``jax.grad`` of the reference agree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import ops, reference
from tests.docs.pages import ROOT, run

pytestmark = pytest.mark.usefixtures("mathematics")


@pytest.fixture(scope="module")
def page():
    return run(ROOT / "docs" / "worked_example.md")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["dw", "explicit", "derived"])
def test_page_finds_the_analytic_gradient(page, way):
    assert page[way].dtype == np.float64
    np.testing.assert_allclose(page[way], page["analytic"], rtol=1e-10, atol=1e-15)


def test_page_finds_the_analytic_forward_values(page):
    np.testing.assert_allclose(page["g"], [[1 / (1 + np.exp(-1.0))]], rtol=1e-10)
    np.testing.assert_allclose(page["loss"], [np.log1p(np.exp(-1.0))], rtol=1e-10)


def surroundings(signal, winner):
    """Return signal[n* - n] for each n, zero where that lies outside the signal."""
    flipped = np.zeros(signal.shape)
    for n in np.ndindex(*signal.shape):
        place = tuple(m - k for m, k in zip(winner, n, strict=True))
        if all(0 <= i < length for i, length in zip(place, signal.shape, strict=True)):
            flipped[n] = signal[place]
    return flipped


@pytest.mark.parametrize("namespace", [ops, reference], ids=["ops", "reference"])
@pytest.mark.parametrize("size", [(3,), (17,), (5, 7)], ids=str)
def test_any_input_gives_the_flipped_surroundings_of_the_winner(x64, namespace, size):
    """dL/dw[n] = -(1 - sigma(z[n*])) x[n* - n], and the same with x and w exchanged."""
    generator = np.random.default_rng(0)
    x, w = jnp.asarray(generator.normal(size=(2, *size)))

    @jax.jit
    def convolved(x, w):
        return namespace.convolve(x[None, ..., None], w[..., None, None], padding="FULL")

    def loss(x, w):
        largest = namespace.global_max_pool(convolved(x, w))
        return namespace.binary_cross_entropy(largest, jnp.ones((1, 1))).sum()

    z = np.array(convolved(x, w))[0, ..., 0]
    winner = np.unravel_index(z.argmax(), z.shape)
    da = -1 / (1 + np.exp(z.max()))
    dx, dw = jax.jit(jax.grad(loss, argnums=(0, 1)))(x, w)
    np.testing.assert_allclose(dw, da * surroundings(x, winner), rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(dx, da * surroundings(w, winner), rtol=1e-10, atol=1e-15)
