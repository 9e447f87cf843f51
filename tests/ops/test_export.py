"""``jax.export`` with dimensions left open: one program for every batch, and for every image."""

from __future__ import annotations

from functools import partial
from itertools import count
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import jcnn
from jcnn import ops, reference
from tests.selection import slow_unless
from tests.tolerances import tolerance

pytestmark = pytest.mark.usefixtures("mathematics")

PLATFORMS = ("cpu", "cuda", "tpu")
EXACT = tolerance("float64")
CONVOLUTIONS = {
    "few channels": ("b, 12, 12, 1", "5, 5, 1, 8", {}),
    "filtered": ("b, 8, 8, 32", "3, 3, 32, 32", {"padding": "SAME"}),
    "strided": ("b, 9, 9, 3", "3, 3, 3, 8", {"strides": 2, "padding": 1}),
    "depthwise": ("b, 8, 8, 4", "3, 3, 1, 8", {"groups": 4}),
    "groups": ("b, 8, 8, 40", "3, 3, 8, 10", {"groups": 5}),
    "1x1": ("b, 4, 4, 9", "1, 1, 9, 4", {}),
    "images": ("b, h, w, 3", "3, 3, 3, 4", {"padding": "SAME"}),
    "images, apart": ("b, h, w, 3", "2, 2, 3, 4", {"strides": 3, "padding": "SAME_LOWER"}),
    "images, strided": ("b, h, w, 3", "3, 2, 3, 4", {"strides": 2, "padding": 1}),
    "images, dilated": ("2, h, w, 4", "3, 3, 4, 4", {"dilation": 2}),
    "images, depthwise": ("2, h, w, 4", "3, 3, 1, 4", {"groups": 4, "padding": 1}),
    "channels": ("4, 8, 8, c", "3, 3, c, 5", {"padding": 1}),
    "features": ("4, 8, 8, 3", "3, 3, 3, c", {"padding": 1}),
    "images, cropped": ("b, h, w, 3", "3, 3, 3, 4", {"padding": -1}),
}
POOLS = {
    "2x2": {"window": 2},
    "same": {"window": 3, "strides": 2, "padding": "SAME"},
    "same, apart": {"window": 2, "strides": 3, "padding": "SAME"},
    "padded": {"window": 3, "strides": 2, "padding": 1},
    "large": {"window": 7, "strides": 1},
    "large, apart": {"window": 8},
}
SOME = ("2x2", "large")
CALLS = {
    **{
        f"correlate, {name}": (partial(ops.correlate, **options), x, w)
        for name, (x, w, options) in CONVOLUTIONS.items()
    },
    "correlate, mapped over both": (jax.vmap(ops.correlate), "3, b, 8, 8, 3", "3, 3, 3, 3, 4"),
    "correlate, an image of each": (
        jax.vmap(lambda x, w: ops.correlate(x[None], w)), "3, h, w, 3", "3, 3, 3, 3, 4",
    ),
    "conv_general_dilated": (
        partial(
            jcnn.lax.conv_general_dilated, window_strides=(2, 2), padding="SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        ),
        "b, h, w, 3", "3, 3, 3, 4",
    ),
    "convolve_transpose": (partial(ops.convolve_transpose, strides=2), "b, 5, 5, 4", "4, 4, 4, 3"),
    "convolve_transpose, images": (
        partial(ops.convolve_transpose, strides=2, padding="SAME"), "b, h, w, 4", "4, 4, 4, 3",
    ),
    **{
        f"{op}, {name}, {x}": (partial(getattr(ops, op), **options), x)
        for op in ("max_pool", "average_pool")
        for name, options in POOLS.items()
        for x in ("b, h, w, 2", *(("b, 9, 9, 2", "4, 9, 9, c") if name in SOME else ()))
    },
    "global_max_pool": (ops.global_max_pool, "b, h, w, 2"),
    "global_average_pool": (ops.global_average_pool, "b, h, w, 2"),
    "average_pool, those of the image": (
        partial(ops.average_pool, window=3, padding=1, count_include_pad=False), "b, h, w, 2",
    ),
    "max_pool, cropped": (partial(ops.max_pool, window=2, padding=-1), "b, h, w, 2"),
    "pad": (partial(ops.pad, padding=1), "b, h, w, 2"),
    "pad, one axis open": (partial(ops.pad, padding=[(0, 1), (2, 0)]), "b, h, 12, 2"),
    "decimate": (partial(ops.decimate, factor=2), "b, h, w, 2"),
    "square_pool": (partial(ops.square_pool, window=2), "b, h, w, 2"),
    "relu_max_pool": (partial(ops.relu_max_pool, window=2), "b, h, w, 2"),
    "dense": (ops.dense, "b, 4", "4, 5"),
    "local_response_norm": (ops.local_response_norm, "b, h, w, 8"),
    "local_response_norm, any channels": (ops.local_response_norm, "b, 3, c"),
    "local_response_norm of the reference": (reference.local_response_norm, "b, 3, c"),
    "batch_norm": (lambda x, s, o: ops.batch_norm(x, s, o)[0], "b, 4, 4, 3", "3", "3"),
    "softmax": (ops.softmax, "b, 8"),
    "tanh": (ops.tanh, "b, 8"),
    "softmax_cross_entropy": (
        lambda a: ops.softmax_cross_entropy(a, jnp.zeros(a.shape[0], jnp.int32)), "b, 8",
    ),
    "binary_cross_entropy": (lambda a: ops.binary_cross_entropy(a, 0 * a), "b, 8"),
    "mean_squared_error": (lambda a: ops.mean_squared_error(a, 0 * a), "b, 8"),
    "dropout": (lambda a: ops.dropout(a, jax.random.key(0), 0.5), "b, 8"),
}  # fmt: skip
QUICK = {
    "correlate, filtered", "correlate, depthwise", "correlate, images, strided",
    "correlate, channels", "correlate, features", "max_pool, large, 4, 9, 9, c",
    "max_pool, large, b, h, w, 2", "max_pool, same, b, h, w, 2", "average_pool, same, b, h, w, 2",
    "dense", "average_pool, those of the image", "pad", "correlate, mapped over both",
    "conv_general_dilated",
}  # fmt: skip
SIZES = (
    {"b": 1, "h": 16, "w": 16, "c": 1}, {"b": 3, "h": 17, "w": 21, "c": 5},
    {"b": 8, "h": 20, "w": 16, "c": 32},
)  # fmt: skip


def pulled(call, *arrays):
    y, pull = jax.vjp(call, *arrays)
    return y, pull(jnp.ones_like(y))


def exported(function, *shapes):
    """The program, written to bytes and read again."""
    # What JAX cannot conclude by itself: that every window fits.
    names = {name for shape in shapes for name in shape.split(", ")}
    scope = export.SymbolicScope([f"{name} >= 16" for name in ("h", "w") if name in names])
    types = [
        jax.ShapeDtypeStruct(export.symbolic_shape(s, scope=scope), jnp.float64) for s in shapes
    ]
    program = export.export(jax.jit(function), platforms=PLATFORMS)(*types)
    return export.deserialize(program.serialize())


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", slow_unless(QUICK.__contains__, CALLS))
def test_an_operation_and_its_gradient(name):
    call, *shapes = CALLS[name]
    function = partial(pulled, call)
    program = exported(function, *shapes)
    for sizes in SIZES:
        seeds = count()
        arrays = [
            np.random.default_rng(next(seeds)).normal(size=shape)
            for shape in (tuple(sizes.get(n) or int(n) for n in s.split(", ")) for s in shapes)
        ]
        found, expected = program.call(*arrays), jax.jit(function)(*arrays)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, **EXACT)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("fill", ["REFLECT", "CIRCULAR"])
@pytest.mark.parametrize(
    "call",
    [
        lambda x, fill: ops.pad(x, 1, mode=fill),
        lambda x, fill: ops.correlate(x, jnp.ones((3, 3, 2, 2)), padding=fill),
        lambda x, fill: ops.max_pool(x, 3, padding=fill),
    ],
    ids=["pad", "correlate", "max_pool"],
)
def test_a_border_of_an_open_axis_is_refused_in_a_sentence(call, fill):
    message = f"padding {fill} needs lengths that are known, and at least 1, found hx"
    with pytest.raises(ValueError, match=message):
        exported(lambda x: call(x, fill), "b, h, w, 2")


CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.toml"))


@pytest.mark.parametrize(
    "path",
    slow_unless(lambda path: path.stem == "alexnet_2012", CONFIGS),
    ids=lambda path: path.stem,
)
def test_a_config_s_model_and_its_gradient(path):
    experiment = jcnn.load_experiment(path)
    model = experiment.model
    params, state = jax.eval_shape(
        lambda key: model.init(key, experiment.input_shape), jax.random.key(0)
    )
    (batch,) = export.symbolic_shape("b")
    images = jax.ShapeDtypeStruct((batch, *experiment.input_shape), jnp.float32)

    def run(params, state, x):
        def loss(params):
            y, _ = model.apply(params, state, x, training=True, key=jax.random.key(0))
            return y.sum()

        return model.apply(params, state, x)[0], jax.grad(loss)(params)

    program = export.export(jax.jit(run), platforms=PLATFORMS)(params, state, images)
    if path.stem in ("digits", "zipcode_1989"):
        params, state = model.init(jax.random.key(0), experiment.input_shape)
        read = export.deserialize(program.serialize())
        for n in (1, 3, 8):
            x = np.random.default_rng(n).normal(size=(n, *experiment.input_shape)).astype("f")
            found, expected = read.call(params, state, x), jax.jit(run)(params, state, x)
            # Sums of other lowerings round otherwise.
            jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), found, expected)
