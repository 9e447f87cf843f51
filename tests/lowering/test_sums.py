"""Sums over all positions, and the value that they are taken from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn.lowering import one_value


def test_the_value_of_a_channel_is_its_first():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 5, 6)), jnp.float32)
    np.testing.assert_array_equal(jax.jit(one_value)(x), x[:1, :1, :1])


@pytest.mark.parametrize(("platform", "reductions"), [("cpu", 0), ("cuda", 0), ("tpu", 1)])
def test_on_tpus_it_is_no_slice_whose_layout_would_be_that_of_all(platform, reductions):
    traced = jax.jit(one_value).trace(jnp.ones((3, 4, 5, 6)))
    program = traced.lower(lowering_platforms=(platform,)).as_text()
    assert program.count("stablehlo.reduce") == reductions
