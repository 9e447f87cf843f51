"""Equinox's layers with explicit gradients give what Equinox's own give, whatever their options."""

import doctest

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.frameworks.drawn import (
    HOW_MANY,
    agree,
    floats,
    one_of,
    pairs,
    per_axis,
    same_arguments,
)
from tests.optional import optional

eqx, ours, pytestmark = optional("equinox", "jcnn.equinox")
pytestmark = [pytestmark, pytest.mark.usefixtures("mathematics")]
KEY = jax.random.key(0)


def same_layers(make, name, x):
    """Compare two layers of the same parameters, on a batch."""
    layers = [make(getattr(module, name)) for module in (eqx.nn, ours)]
    params, static = eqx.partition(layers[0], eqx.is_array)
    ours_, structure = jax.tree.flatten(eqx.filter(layers[1], eqx.is_array))
    for a, b in zip(jax.tree.leaves(params), ours_, strict=True):
        assert (a == b).all()
    rest = eqx.filter(layers[1], eqx.is_array, inverse=True)

    def theirs(params, x):
        return jax.vmap(eqx.combine(params, static))(x)

    def found(params, x):
        params = structure.unflatten(jax.tree.leaves(params))
        return jax.vmap(eqx.combine(params, rest))(x)

    agree(theirs, found, params, x)


def options(generator, rank):
    return {
        "kernel_size": one_of(generator, 3, (2, 3)[:rank]),
        "stride": per_axis(generator, rank, 1, 3),
        "dilation": per_axis(generator, rank, 1, 2),
        "use_bias": one_of(generator, True, False),
        "groups": one_of(generator, 1, 2),
        "key": KEY,
    }


@pytest.mark.slow
@HOW_MANY
def test_convolutions(examples):
    generator = np.random.default_rng(examples)
    for _ in range(examples):
        rank = int(generator.integers(1, 3))
        drawn = options(generator, rank) | {
            "padding": one_of(
                generator, "SAME", "same_lower", "VALID", 1, pairs(generator, rank, 0, 3)
            ),
            "padding_mode": one_of(generator, "ZEROS", "reflect", "REPLICATE", "CIRCULAR"),
        }
        make = lambda kind, d=drawn: kind(in_channels=4, out_channels=6, **d)  # noqa: E731
        same_layers(make, f"Conv{rank}d", floats(generator, 2, 4, *(8, 7)[:rank]))


@pytest.mark.thorough
@pytest.mark.slow
@HOW_MANY
def test_transposed_convolutions(examples):
    generator = np.random.default_rng(examples)
    for _ in range(examples):
        rank = int(generator.integers(1, 3))
        drawn = options(generator, rank)
        if one_of(generator, True, False, False):
            drawn |= {
                "padding": one_of(generator, "SAME", "SAME_LOWER"),
                "padding_mode": "CIRCULAR",
            }
        else:
            padding = one_of(generator, "SAME", "SAME_LOWER", "VALID", 1)
            strides = np.broadcast_to(drawn["stride"], rank)
            more = tuple(int(generator.integers(0, s)) for s in strides)
            drawn |= {"padding": padding, "output_padding": more}
        make = lambda kind, d=drawn: kind(in_channels=4, out_channels=6, **d)  # noqa: E731
        same_layers(make, f"ConvTranspose{rank}d", floats(generator, 2, 4, *(4, 5)[:rank]))


@pytest.mark.thorough
@pytest.mark.slow
@HOW_MANY
def test_pools(examples):
    generator = np.random.default_rng(examples)
    for _ in range(examples):
        rank = int(generator.integers(1, 3))
        window = tuple(int(n) for n in generator.integers(2, 4, rank))
        drawn = {
            "kernel_size": window,
            "stride": per_axis(generator, rank, 1, 2),
            "padding": one_of(generator, 0, 1, pairs(generator, rank, 0, 1)),
            "use_ceil": one_of(generator, True, False),
        }
        x = floats(generator, 2, 3, *(8, 7)[:rank])
        for name in ("MaxPool", "AvgPool"):
            same_layers(lambda kind, d=drawn: kind(**d), f"{name}{rank}d", x)


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("name", ["AdaptiveMaxPool", "AdaptiveAvgPool"])
@pytest.mark.parametrize(
    ("size", "target"), [((8,), 4), ((7,), (3,)), ((6, 9), (3, 3)), ((6, 7), 2), ((4, 4, 2), 2)]
)
def test_adaptive_pools(name, size, target):
    x = floats(np.random.default_rng(0), 2, 3, *size)
    same_layers(lambda kind: kind(target), f"{name}{len(size)}d", x)


@pytest.mark.parametrize("name", ["BatchNorm", "GroupNorm", "LayerNorm", "RMSNorm", "Pool"])
def test_a_layer_without_a_counterpart_is_refused_by_name(name):
    message = rf"jcnn.equinox has no {name}: .*take eqx.nn.{name}, which"
    with pytest.raises(ImportError, match=message):
        getattr(ours, name)
    assert not hasattr(ours, "Nonsense")


def test_the_arguments_are_equinox_s_own():
    for name in set(ours.__all__) - {"swap"}:
        same_arguments("equinox", getattr(eqx.nn, name).__call__, getattr(ours, name).__call__)


def test_a_window_of_padding_alone_is_refused():
    pool = ours.MaxPool1d(2, stride=2, padding=1, use_ceil=True)
    with pytest.raises(ValueError, match="padding must be smaller than the window"):
        pool(jnp.ones((3, 3)))


def test_a_batch_is_refused():
    for layer in (ours.Conv2d(3, 4, 3, key=KEY), ours.MaxPool2d(2)):
        with pytest.raises(ValueError, match=r"x must have 3 axes, \(C, \*size\), found shape"):
            layer(jnp.ones((2, 3, 8, 8)))


@pytest.mark.slow
def test_a_whole_model_is_swapped():
    model = eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(2, 4, 3, padding=1, padding_mode="CIRCULAR", key=KEY),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.MaxPool2d(2, 2, use_ceil=True),
            eqx.nn.ConvTranspose2d(4, 2, 3, stride=2, key=KEY),
            eqx.nn.AvgPool2d(3, 2, padding=1),
        ]
    )
    swapped = ours.swap(model)
    names = [type(layer).__module__ for layer in swapped.layers]
    assert names.count("jcnn.equinox") == 4
    assert type(model.layers[0]) is eqx.nn.Conv2d
    x = floats(np.random.default_rng(0), 2, 2, 7, 7)
    arrays, static = eqx.partition(model, eqx.is_array)
    leaves, structure = jax.tree.flatten(eqx.filter(swapped, eqx.is_array))
    assert all(a is b for a, b in zip(leaves, jax.tree.leaves(arrays), strict=True))
    rest = eqx.filter(swapped, eqx.is_array, inverse=True)
    agree(
        lambda p, x: jax.vmap(eqx.combine(p, static))(x),
        lambda p, x: jax.vmap(eqx.combine(structure.unflatten(jax.tree.leaves(p)), rest))(x),
        arrays,
        x,
    )


@pytest.mark.parametrize("told", ["the class Conv2d", "found int", "found dict"])
def test_what_is_no_model_is_refused(told):
    found = {"the class Conv2d": eqx.nn.Conv2d, "found int": 3, "found dict": {}}[told]
    with pytest.raises(TypeError, match=rf"expected an eqx\.Module, .*{told}"):
        ours.swap(found)


@pytest.mark.thorough
@pytest.mark.slow
def test_its_examples_run():
    """Collected here and not from the module, which cannot be imported everywhere."""
    result = doctest.testmod(ours, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.attempted > 5
    assert not result.failed
