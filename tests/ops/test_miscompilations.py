"""What a supported version of XLA is known to compute wrong, as far as jcnn could meet it.

Whole numbers, which are added exactly in any order: each result is the one number.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import ops, reference
from tests.cases import CASES
from tests.selection import slow_unless


def through_a_bias(dy, w):
    """The gradient of a bias that every example shares, through a dense layer."""
    x = jnp.ones((len(dy), 1))
    return jax.vjp(lambda b: ops.dense(x + b, w), w[:, 0])[1](dy)[0]


SUMS = {
    "gradient of a bias": through_a_bias,
    "sum": lambda dy, w: ops.dense(dy, w.T).sum(0),
    "maximum": lambda dy, w: ops.dense(dy, w.T).max(0),
    "sum of rows": lambda dy, w: jax.vmap(lambda row: ops.dense(row[None], w.T)[0])(dy).sum(0),
}


def whole_numbers(*shape):
    return np.random.default_rng(0).integers(-3, 4, shape).astype(np.float32)


@pytest.mark.parametrize("how", SUMS)
def test_a_product_of_three_terms_is_reduced_right(how):
    """jaxlib 0.10 fuses both and errs from the 32,769th column on (jax-ml/jax#39103)."""
    dy, w = whole_numbers(3, 3), whole_numbers(36_000, 3)
    found = jax.jit(SUMS[how])(dy, w)
    product = dy @ w.T
    expected = product.max(0) if how == "maximum" else product.sum(0)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("groups", [1, 4], ids=["one group", "depthwise"])
def test_products_of_volumes_under_two_vmaps_are_summed_right(groups):
    """Sums of products of seven axes end jaxlib 0.10.2's process (jax-ml/jax#39257, #40412)."""
    x, w, dy = (
        whole_numbers(3, 1, 2, 1, 6, 6, 4),
        whole_numbers(1, 3, 3, 4 // groups, 4),
        whole_numbers(3, 1, 2, 1, 4, 4, 4),
    )

    def gradient(x, dy):
        return jax.vjp(lambda w: ops.correlate(x, w, groups=groups), w)[1](dy)[0]

    found = jax.jit(jax.vmap(jax.vmap(gradient)))(x, dy)
    alone = jax.jit(gradient)
    expected = [
        [alone(a, b) for a, b in zip(*pair, strict=True)] for pair in zip(x, dy, strict=True)
    ]
    np.testing.assert_array_equal(found, np.asarray(expected))


CONVOLUTIONS = [
    case for case in CASES if case.op in ("correlate", "convolve", "convolve_transpose")
]


@pytest.mark.parametrize(
    "case", slow_unless(lambda c: c.op == "convolve_transpose", CONVOLUTIONS, lambda c: c.id)
)
@pytest.mark.parametrize("namespace", [ops, reference], ids=["ops", "reference"])
def test_no_convolution_has_negative_padding(namespace, case):
    """XLA's CPU backend reads memory that nobody wrote (of the kind of openxla/xla#48713)."""
    args = [jnp.asarray(a) for a in case.arguments()]

    def run(*args):
        y, pull = jax.vjp(case.function(namespace), *args)
        return pull(y)

    text = jax.jit(run).lower(*args).as_text()
    paddings = re.findall(r"stablehlo\.convolution.* pad = (\[\[.*?\]\])", text)
    assert not any("-" in padding for padding in paddings)
