"""Flax's layers with explicit gradients give what Flax's own give, whatever their options."""

import doctest
import functools

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
    refuses,
    same_arguments,
)
from tests.optional import optional

nnx, linen, ours, pytestmark = optional("flax.nnx", "flax.linen", "jcnn.flax")
pytestmark = [pytestmark, pytest.mark.usefixtures("mathematics", "their_promotion")]


@pytest.fixture
def their_promotion():
    """Flax's own pools need it."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def applied(layer):
    """A function of a layer's parameters and its input."""
    graph, params, rest = nnx.split(layer, nnx.Param, ...)
    return lambda params, x: nnx.merge(graph, params, rest, copy=True)(x), params


def same_layers(make, own, x):
    theirs, params = applied(make(getattr(nnx, own)))
    found, same = applied(make(getattr(ours, own)))
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(same), strict=True):
        assert (a == b).all()
    # of one structure: those of the layers themselves name their classes
    shape = jax.tree.structure(same)
    agree(theirs, lambda params, x: found(shape.unflatten(jax.tree.leaves(params)), x), params, x)


def options(generator, rank, groups, kernel):
    """Those that both kinds of convolutions have."""
    drawn = {
        "strides": one_of(generator, None, per_axis(generator, rank, 1, 3)),
        "kernel_dilation": one_of(generator, None, per_axis(generator, rank, 1, 2)),
        "use_bias": one_of(generator, True, False),
        "dtype": one_of(generator, None, None, jnp.float32),
    }
    if one_of(generator, True, False, False):
        drawn["mask"] = jnp.asarray(generator.integers(0, 2, kernel), jnp.float32)
    return drawn


@pytest.mark.slow
@HOW_MANY
def test_convolutions(examples):
    generator = np.random.default_rng(examples)
    for _ in range(examples):
        rank, groups = int(generator.integers(1, 3)), int(generator.integers(1, 3))
        window = (3, 2)[:rank]
        drawn = options(generator, rank, groups, (*window, 4 // groups, 6))
        names = ("SAME", "VALID", "CIRCULAR", "REFLECT", "CAUSAL" if rank == 1 else "SAME")
        drawn["padding"] = one_of(generator, *names, 1, pairs(generator, rank, 0, 4))
        if not isinstance(drawn["padding"], str):  # Flax refuses names then
            drawn["input_dilation"] = one_of(generator, None, per_axis(generator, rank, 1, 2))
        batch = one_of(generator, (2,), (2, 3), ())
        make = lambda kind, o=drawn, g=groups, w=window: kind(  # noqa: E731
            4, 6, w, feature_group_count=g, rngs=nnx.Rngs(0), **o
        )
        same_layers(make, "Conv", floats(generator, *batch, *(8, 7)[:rank], 4))


@pytest.mark.thorough
@pytest.mark.slow
@HOW_MANY
def test_transposed_convolutions(examples):
    generator = np.random.default_rng(examples)
    for _ in range(examples):
        rank, turned = int(generator.integers(1, 3)), one_of(generator, True, False)
        window = (3, 4)[:rank]
        drawn = options(generator, rank, 1, (*window, *((5, 3) if turned else (3, 5))))
        drawn["padding"] = one_of(
            generator, "SAME", "VALID", "CIRCULAR", 1, pairs(generator, rank, 1, 3)
        )
        batch = one_of(generator, (2,), (2, 3), ())
        make = lambda kind, o=drawn, t=turned, w=window: kind(  # noqa: E731
            3, 5, w, transpose_kernel=t, rngs=nnx.Rngs(0), **o
        )
        same_layers(make, "ConvTranspose", floats(generator, *batch, *(4, 3)[:rank], 3))


def test_a_transposed_convolution_may_pad_one_more_before():
    make = lambda kind: kind(3, 5, (4,), padding="SAME_LOWER", rngs=nnx.Rngs(0))  # noqa: E731
    same_layers(make, "ConvTranspose", floats(np.random.default_rng(0), 2, 6, 3))


def test_the_arguments_are_flax_s_own():
    for name in ("max_pool", "min_pool", "avg_pool"):
        same_arguments("flax", getattr(nnx, name), getattr(ours, name))
    for name in ("Conv", "ConvTranspose", "BatchNorm"):
        same_arguments("flax", getattr(nnx, name).__call__, getattr(ours, name).__call__)
    same_arguments("flax", linen.ConvTranspose.__call__, ours.LinenConvTranspose.__call__)


@pytest.mark.thorough
@pytest.mark.slow
@HOW_MANY
def test_pools(examples):
    generator = np.random.default_rng(examples)
    for _ in range(examples):
        rank = int(generator.integers(1, 3))
        window = tuple(int(n) for n in generator.integers(1, 4, rank))
        least = min(window) - 1
        drawn = {
            "strides": one_of(generator, None, tuple(map(int, generator.integers(1, 4, rank)))),
            "padding": one_of(generator, "SAME", "VALID", pairs(generator, rank, 0, least)),
        }
        # Flax pools with pairs have one batch axis at most
        more = ((2, 2),) if isinstance(drawn["padding"], str) else ()
        x = floats(generator, *one_of(generator, (2,), (), *more), *(8, 7)[:rank], 3)
        for name in ("max_pool", "min_pool", "avg_pool"):
            more = {"count_include_pad": one_of(generator, True, False)} if name[0] == "a" else {}
            pools = [getattr(module, name) for module in (nnx, ours)]
            agree(*(lambda x, p=p, m=more, w=window, d=drawn: p(x, w, **d, **m) for p in pools), x)


@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
def test_batch_normalisation(training):
    generator = np.random.default_rng(0)
    for drawn in (
        {"axis": 1, "momentum": 0.5, "use_bias": False, "epsilon": 0.1},
        {"use_scale": False, "use_fast_variance": False, "dtype": jnp.float32},
    ):
        x = floats(generator, 4, 3, 3)
        make = lambda kind, o=drawn: kind(  # noqa: E731
            3, use_running_average=not training, rngs=nnx.Rngs(0), **o
        )
        same_layers(make, "BatchNorm", x)
        both = make(nnx.BatchNorm), make(ours.BatchNorm)
        outputs = [layer(x) for layer in both]
        np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-5)
        for kept in ("mean", "var"):
            values = [getattr(layer, kept)[...] for layer in both]
            np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-6)


def test_half_precision_comes_out_as_flax_has_it():
    x = floats(np.random.default_rng(0), 2, 6, 6, 4)
    for name, dtype in (("Conv", jnp.bfloat16), ("ConvTranspose", jnp.float16)):
        layers = [
            getattr(module, name)(4, 6, (3, 3), dtype=dtype, rngs=nnx.Rngs(0))
            for module in (nnx, ours)
        ]
        theirs, found = jax.jit(lambda x, both=layers: [layer(x) for layer in both])(x)
        assert found.dtype == theirs.dtype == dtype
        np.testing.assert_allclose(found.astype("f4"), theirs.astype("f4"), atol=0.03)


def test_linen_convolution():
    x = floats(np.random.default_rng(0), 2, 6, 6, 4)
    options = {"features": 6, "kernel_size": (3, 3), "strides": 2, "feature_group_count": 2}
    layers = linen.Conv(**options), ours.LinenConv(**options)
    params = layers[0].init(jax.random.key(0), x)
    agree(*(layer.apply for layer in layers), params, x)


@pytest.mark.thorough
@pytest.mark.slow
@HOW_MANY
def test_linen_s_transposed_convolutions(examples):
    generator = np.random.default_rng(examples)
    for _ in range(examples):
        rank, turned = int(generator.integers(1, 3)), one_of(generator, True, False)
        window = (3, 4)[:rank]
        drawn = options(generator, rank, 1, (*window, *((5, 3) if turned else (3, 5))))
        for key in ("strides", "kernel_dilation"):  # linen's wants sequences in the types alone
            drawn[key] = per_axis(generator, rank, 1, 2)
        drawn["padding"] = one_of(generator, "SAME", "VALID", "CIRCULAR", 1)
        drawn |= {"features": 5, "kernel_size": window, "transpose_kernel": turned}
        batch = one_of(generator, (2,), (2, 3), ())
        x = floats(generator, *batch, *(4, 3)[:rank], 3)
        layers = linen.ConvTranspose(**drawn), ours.LinenConvTranspose(**drawn)
        params = layers[0].init(jax.random.key(0), x)
        agree(*(layer.apply for layer in layers), params, x)


def test_linen_s_names_and_initial_values_are_its_own():
    x = jnp.ones((1, 4, 4, 2))
    both = [
        linen.Sequential([kind(3, (2, 2))]).init(jax.random.key(0), x)
        for kind in (linen.ConvTranspose, ours.LinenConvTranspose)
    ]
    assert jax.tree.structure(both[0]) == jax.tree.structure(both[1])
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), *both))
    with pytest.raises(ValueError, match="precision must be None"):
        ours.LinenConvTranspose(3, (2, 2), precision="highest").init(jax.random.key(0), x)


@pytest.mark.parametrize("name", ["LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm", "Linear"])
def test_a_layer_without_a_counterpart_is_refused_by_name(name):
    with pytest.raises(ImportError, match=rf"jcnn.flax has no {name}: .*take nnx.{name}, which"):
        getattr(ours, name)
    assert not hasattr(ours, "Nonsense")


def test_what_is_not_taken_is_refused_by_name():
    values = {
        "precision": "highest",
        "preferred_element_type": jnp.float32,
        "conv_general_dilated": lambda *args: None,
        "axis_name": "batch",
        "axis_index_groups": [[0]],
    }
    for kind, names in (("Conv", list(values)[:3]), ("ConvTranspose", list(values)[:2])):
        make = lambda name, k=kind: getattr(ours, k)(  # noqa: E731
            2, 2, (3,), rngs=nnx.Rngs(0), **{name: values[name]}
        )
        refuses(names, make)
    refuses(
        list(values)[3:],
        lambda name: ours.BatchNorm(2, rngs=nnx.Rngs(0), **{name: values[name]}),
    )
    pair = 2 * (jax.lax.Precision.DEFAULT,)  # what None means, for each array
    assert ours.Conv(2, 2, (3,), precision=pair, rngs=nnx.Rngs(0)).precision == pair
    layer = ours.BatchNorm(2, rngs=nnx.Rngs(0))
    refuses(["mask"], lambda name: layer(jnp.ones((3, 2)), mask=jnp.ones((3, 1), bool)))


class Net(nnx.Module if nnx else object):
    """Layers, pools and lists of them, in all the places where a model has them."""

    def __init__(self, rngs, **options):
        self.conv = nnx.Conv(2, 4, (3, 3), rngs=rngs, **options)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.pool = nnx.max_pool
        self.rest = nnx.Sequential(
            functools.partial(nnx.avg_pool, window_shape=(2, 2)),
            nnx.ConvTranspose(4, 3, (2, 2), strides=2, rngs=rngs),
            nnx.relu,
        )
        self.blocks = nnx.List([nnx.Conv(3, 3, (1, 1), rngs=rngs)])

    def __call__(self, x):
        x = self.pool(nnx.relu(self.norm(self.conv(x))), (2, 2), strides=(2, 2))
        return self.blocks[0](self.rest(x))


@pytest.mark.slow
def test_a_whole_model_is_swapped():
    model = Net(nnx.Rngs(0))
    swapped = ours.swap(model)
    kinds = {type(module).__module__ for _, module in nnx.iter_modules(swapped)}
    assert not any(kind.startswith("flax.nnx.nn.linear") for kind in kinds)
    assert swapped.pool is ours.max_pool
    assert swapped.rest.layers[0].func is ours.avg_pool
    assert type(model.conv) is nnx.Conv
    x = floats(np.random.default_rng(0), 2, 8, 8, 2)
    theirs, params = applied(model)
    found, same = applied(swapped)
    shape = jax.tree.structure(same)
    agree(theirs, lambda params, x: found(shape.unflatten(jax.tree.leaves(params)), x), params, x)


def test_a_model_with_an_option_that_is_not_taken_is_refused_with_its_path():
    with pytest.raises(ValueError, match="conv: Conv: precision must be None"):
        ours.swap(Net(nnx.Rngs(0), precision="highest"))


@pytest.mark.parametrize(("found", "told"), [(Net, "the class Net"), (3, "found int")])
def test_what_is_no_model_is_refused(found, told):
    with pytest.raises(TypeError, match=rf"expected an nnx\.Module, .*{told}"):
        ours.swap(found)


@pytest.mark.thorough
@pytest.mark.slow
def test_its_examples_run():
    """Collected here and not from the module, which cannot be imported everywhere."""
    result = doctest.testmod(ours, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.attempted > 5
    assert not result.failed
