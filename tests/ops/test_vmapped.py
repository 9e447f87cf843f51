"""Under ``vmap``: whole numbers equal to those of one example after the other, and one product."""

from __future__ import annotations

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import ops, reference
from tests.ops.examples import MAPPED, Examples
from tests.proof.problems import call
from tests.selection import slow_unless

pytestmark = pytest.mark.usefixtures("mathematics")

PROBLEMS = {
    "image": call("correlate", (2, 7, 6, 2), (3, 2, 2, 4), padding=((1, 0), (2, 1))),
    "groups": call("convolve", (2, 7, 6, 4), (3, 2, 2, 6), groups=2, strides=2),
    "depthwise": call("correlate", (1, 9, 4), (3, 1, 8), groups=4, dilation=2),
    "transposed": call("convolve_transpose", (2, 5, 4, 4), (3, 3, 4, 2), strides=2),
    "transposed-groups": call("convolve_transpose", (1, 5, 4), (4, 2, 6), strides=2, groups=2),
    "looped": call("correlate", (4, 20, 20, 8), (3, 3, 8, 16), padding=1),
    "dense": call("dense", (3, 4), (4, 5)),
}


QUICK = ("image", "groups", "dense")


@pytest.mark.parametrize("mapped", MAPPED)
@pytest.mark.parametrize("name", slow_unless(QUICK.__contains__, PROBLEMS, in_ci=True))
def test_every_example_gets_what_it_gets_alone(name, mapped):
    examples = Examples(PROBLEMS[name], MAPPED[mapped])
    for found, expected in zip(examples.found(ops, "float32"), examples.expected(), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("mapped", MAPPED)
@pytest.mark.parametrize("name", slow_unless("dense".__eq__, ["groups", "transposed", "dense"]))
def test_no_example_gives_nothing_and_no_gradient(name, mapped):
    problem, axes = PROBLEMS[name], tuple(0 if m else None for m in MAPPED[mapped])
    x, w = (
        jnp.ones((0, *shape) if m else shape)
        for (_, shape, _), m in zip(problem.arrays, MAPPED[mapped], strict=True)
    )
    call = functools.partial(getattr(ops, problem.op), **dict(problem.statics))
    y, pull = jax.vjp(jax.vmap(call, axes), x, w)
    assert y.shape[0] == 0
    dx, dw = pull(y)
    assert (dx.shape, dw.shape) == (x.shape, w.shape)
    assert not dx.any()
    assert not dw.any()


def shapes_of_results(function, *arrays):
    """Of every operation in the lowered program, the number of elements that it writes."""
    text = jax.jit(function).lower(*arrays).as_text()
    results = re.findall(r"tensor<((?:\d+x)+)f32>\s*$", text, re.MULTILINE)
    return [int(np.prod([int(n) for n in shape.split("x")[:-1]])) for shape in results]


@pytest.mark.parametrize("name", ["image", "groups", "transposed", "dense"])
def test_a_shared_kernel_s_gradient_is_not_made_for_each_example(name):
    problem = PROBLEMS[name]
    (_, x, _), (_, w, _) = problem.arrays
    options, count = dict(problem.statics), 512
    x, w = jnp.ones((count, *x)), jnp.ones(w)

    def loss(w, x):
        return jax.vmap(lambda x: getattr(ops, problem.op)(x, w, **options))(x).sum()

    def batch(w, x):
        return getattr(ops, problem.op)(x.reshape(-1, *x.shape[2:]), w, **options).sum()

    largest = max(shapes_of_results(jax.grad(loss), w, x))
    assert largest <= max(shapes_of_results(jax.grad(batch), w, x))


def test_a_vector_of_seeds_is_mapped_through_a_model():
    """Kernels and images of each, twice: the ensemble's second derivatives too."""
    x, w = np.ones((2, 3, 6, 6, 2)), np.ones((2, 3, 3, 2, 2))

    def slope(namespace):
        loss = lambda w, x: (namespace.correlate(x, w) ** 3).sum()  # noqa: E731
        inner = lambda w, x: (jax.grad(loss)(w, x) ** 2).sum()  # noqa: E731
        return jax.jit(jax.vmap(jax.grad(inner)))(w, x)

    np.testing.assert_allclose(slope(ops), slope(reference), rtol=1e-5)
