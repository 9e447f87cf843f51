"""The guide for other frameworks: what it says of whole batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.docs.pages import ROOT, run
from tests.optional import optional

eqx, _, pytestmark = optional("equinox", "flax.nnx")


@pytest.fixture(scope="module")
def page():
    return run(ROOT / "docs" / "guides" / "flax_and_equinox.md")


def test_whole_batches_give_the_same_features(page):
    x = jax.random.normal(jax.random.key(1), (2, 28, 28, 1))
    theirs = eqx.nn.Conv2d(1, 32, 5, key=jax.random.key(0))
    ours = page["BatchConv"](1, 32, 5, jax.random.key(0))
    expected = jnp.moveaxis(jax.vmap(theirs)(jnp.moveaxis(x, -1, 1)), 1, -1)
    np.testing.assert_allclose(ours(x), expected, rtol=2e-4, atol=2e-5)


def test_the_measured_networks_agree_before_they_are_timed(page):
    """Those of ``scripts/measure_guides``: the pool alone is exchanged in a tree."""
    own = page["EquinoxNet"](jax.random.key(0))
    both = page["jcnn"].equinox.swap(own)
    one = eqx.tree_at(lambda net: net.max_pool, own, both.max_pool)
    assert type(one.max_pool) is type(both.max_pool)
    assert type(one.conv_1) is type(own.conv_1)
