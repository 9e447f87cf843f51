"""The guide for other frameworks: jcnn inside their modules gives what their own layers give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import ops
from tests.docs.pages import ROOT, run
from tests.optional import optional

nnx, eqx, pytestmark = optional("flax.nnx", "equinox")


@pytest.fixture(scope="module")
def page():
    return run(ROOT / "docs" / "guides" / "flax_and_equinox.md")


CONVOLUTIONS = {
    "same": ({"padding": "SAME"}, 1),
    "strided": ({"strides": 2, "padding": "SAME"}, 1),
    "dilated": ({"kernel_dilation": 2, "padding": "VALID"}, 1),
    "pairs": ({"padding": ((1, 2), (0, 1))}, 1),
    "without bias": ({"use_bias": False}, 1),
    "groups": ({"padding": "VALID"}, 2),
}


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


def value_and_gradients(net, x, weights):
    def loss(net, x):
        return jnp.sum(net(x) * weights)

    gradients = nnx.jit(nnx.grad(loss, argnums=(0, 1)))(net, x)
    return net(x), *jax.tree.leaves(gradients)


@pytest.mark.parametrize("options", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_flax_convolution(page, options):
    given, groups = options
    x = jax.random.normal(jax.random.key(1), (2, 9, 8, 4))
    found = []
    for layer in (nnx.Conv, page["Conv"]):
        net = layer(4, 6, (3, 3), feature_group_count=groups, rngs=nnx.Rngs(0), **given)
        weights = jnp.cos(jnp.arange(net(x).size, dtype=jnp.float32)).reshape(net(x).shape)
        found.append(value_and_gradients(net, x, weights))
    for theirs, ours in zip(*found, strict=True):
        close(ours, theirs)


@pytest.mark.parametrize(("window", "strides"), [(2, 2), (3, 2)])
def test_flax_max_pool(window, strides):
    x = jax.random.normal(jax.random.key(1), (2, 9, 9, 3))
    both = [
        jax.value_and_grad(
            lambda x, pool=pool: jnp.sum(jnp.sin(pool(x, (window,) * 2, strides=(strides,) * 2)))
        )(x)
        for pool in (nnx.max_pool, ops.max_pool)
    ]
    for theirs, ours in zip(*both, strict=True):
        close(ours, theirs)


@pytest.mark.parametrize(
    "options",
    [{}, {"stride": 2, "padding": 1}, {"dilation": 2}, {"groups": 2}, {"use_bias": False}],
    ids=str,
)
def test_equinox_convolution(page, options):
    x = jax.random.normal(jax.random.key(1), (2, 4, 9, 8))
    found = []
    for layer in (eqx.nn.Conv2d, page["Conv2d"]):
        net = layer(4, 6, 3, key=jax.random.key(0), **options)
        loss = lambda net, x=x: jnp.sum(jnp.sin(jax.vmap(net)(x)))  # noqa: E731
        found.append(
            [jax.vmap(net)(x), *jax.tree.leaves(eqx.filter_jit(eqx.filter_grad(loss))(net))]
        )
    for theirs, ours in zip(*found, strict=True):
        close(ours, theirs)


@pytest.mark.parametrize("padding", [0, 1])
def test_equinox_max_pool(page, padding):
    x = jax.random.normal(jax.random.key(1), (2, 3, 9, 9))
    pools = [kind(3, stride=2, padding=padding) for kind in (eqx.nn.MaxPool2d, page["MaxPool2d"])]
    for theirs, ours in zip(
        *(
            jax.value_and_grad(lambda x, pool=pool: jnp.sum(jnp.sin(jax.vmap(pool)(x))))(x)
            for pool in pools
        ),
        strict=True,
    ):
        close(ours, theirs)


def test_whole_batches_give_the_same_features(page):
    x = jax.random.normal(jax.random.key(1), (2, 28, 28, 1))
    theirs = eqx.nn.Conv2d(1, 32, 5, key=jax.random.key(0))
    ours = page["BatchConv"](1, 32, 5, jax.random.key(0))
    expected = jnp.moveaxis(jax.vmap(theirs)(jnp.moveaxis(x, -1, 1)), 1, -1)
    close(ours(x), expected)
