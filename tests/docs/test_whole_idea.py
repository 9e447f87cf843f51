"""The idea in one file: its functions give what jcnn.ops and its rules give, and it learns."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import ops
from tests.docs.pages import ROOT
from tests.optional import optional
from tests.tolerances import tolerance

FILE = ROOT / "docs" / "whole_idea.py"
_, needs_digits = optional("sklearn")
pytestmark = pytest.mark.usefixtures("mathematics", "x64")


@pytest.fixture(scope="module")
def idea():
    spec = importlib.util.spec_from_file_location("whole_idea", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def draw(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape, jnp.float64)


def same(found, expected):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, **tolerance("float64"))


def both(op, delta, *arrays):
    """The operation of jcnn.ops, and its rule's gradients."""
    return jax.jit(lambda *arrays: (lambda y, pull: (y, pull(delta)))(*jax.vjp(op, *arrays)))(
        *arrays
    )


def test_convolution(idea):
    a, w, b, delta = draw(0, 2, 6, 5, 3), draw(1, 3, 2, 3, 4), draw(2, 4), draw(3, 2, 4, 4, 4)
    z, gradients = both(ops.convolve, delta, a, w, b)
    same(jax.jit(idea.convolve)(a, w, b), z)
    same(jax.jit(idea.convolve_backward)(a, w, delta), gradients)


def test_relu_and_max_pool_with_ties(idea):
    z = jnp.round(draw(0, 2, 6, 4, 3))
    delta = draw(1, 2, 3, 2, 3)
    expected, (dz,) = both(lambda z: ops.relu_max_pool(z, 2), delta, z)
    a, winner = idea.relu_max_pool(z)
    same(a, expected)
    same(idea.relu_max_pool_backward(a, winner, delta), dz)


def test_dense(idea):
    a, w, b, delta = draw(0, 3, 4), draw(1, 4, 5), draw(2, 5), draw(3, 3, 5)
    z, gradients = both(ops.dense, delta, a, w, b)
    same(idea.dense(a, w, b), z)
    same(idea.dense_backward(a, w, delta), gradients)


def test_loss(idea):
    logits, labels = 9 * draw(0, 6, 4), jnp.array([0, 3, 1, 2, 2, 0])
    loss, (d_logits,) = both(
        lambda logits: ops.softmax_cross_entropy(logits, labels).mean(), jnp.float64(1), logits
    )
    same(idea.cross_entropy(logits, labels), loss)
    same(idea.cross_entropy_backward(logits, labels), d_logits)


def test_whole_network(idea):
    params = idea.init(jax.random.key(0), jnp.float64)
    x, labels = draw(1, 4, 8, 8, 1), jnp.array([3, 0, 9, 9])

    def loss(params):
        a = ops.relu_max_pool(ops.convolve(x, **params["conv"]), 2)
        a = ops.relu(ops.dense(a.reshape(4, -1), **params["hidden"]))
        return ops.softmax_cross_entropy(ops.dense(a, **params["output"]), labels).mean()

    @jax.jit
    def by_hand(params):
        logits, kept = idea.forward(params, x)
        delta = idea.cross_entropy_backward(logits, labels)
        return idea.cross_entropy(logits, labels), idea.backward(params, kept, delta)

    same(by_hand(params), jax.jit(jax.value_and_grad(loss))(params))


def test_file_is_short_and_derives_nothing():
    text = FILE.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 200
    code = text.partition('"""\n\n')[2]
    assert "jax.grad" not in code
    assert "jcnn" not in code


@needs_digits
@pytest.mark.slow
def test_it_learns(idea, capsys):
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        _, accuracy = idea.train(epochs=4)
    assert accuracy > 0.93
    assert "epoch  2" in capsys.readouterr().out
