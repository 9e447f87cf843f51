"""What the page shows of a backward pass is what the whole model's gradient is made of."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import reference
from jcnn.config import Experiment
from jcnn.errors import UserError
from jcnn.layers import Conv
from jcnn.report import kernel_terms, passages
from tests.selection import slow_unless
from tests.tolerances import tolerance

# Sums of a few hundred terms of size 1, in float32.
LOOSE = {"rtol": 1e-4, "atol": 1e-5}


def experiment(*layers: dict, data: dict | None = None) -> Experiment:
    head = [{"type": "global_average_pool"}, {"type": "dense", "features": 10}]
    return Experiment.model_validate(
        {
            "name": "shown",
            "data": data or {"name": "digits"},
            "loss": {"name": "softmax_cross_entropy"},
            "optimizer": {"name": "sgd", "learning_rate": 0.1},
            "layers": [*layers, *head],
        }
    )


def shown(described: Experiment):
    key = jax.random.key(0)
    params, state = jax.jit(described.model.init, static_argnums=1)(key, described.input_shape)
    x = np.asarray(jax.random.normal(key, (1, *described.input_shape)))
    return params, state, x, passages(described, params, state, x, np.array([3], np.int32))[0]


@pytest.fixture(scope="module", autouse=True)
def _compiled_quickly():
    """Formulas are held against each other here: see the fixture ``mathematics``."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module")
def deep(_compiled_quickly):
    """A model with a block, a shortcut, statistics and a pool."""
    conv = {"type": "conv", "features": 4, "window": 3, "padding": "SAME"}
    block = {
        "type": "residual",
        "layers": [conv, {"type": "batch_norm"}, {"type": "relu"}],
        "shortcut": [{**conv, "window": 1}],
    }
    described = experiment(conv, {"type": "max_pool", "window": 2}, block)
    return described, *shown(described)


@pytest.mark.slow
def test_the_layers_gradients_are_those_of_the_whole_model(deep):
    described, params, state, x, passed = deep

    def loss(params, x):
        y, _ = described.model.apply(params, state, x, ops=reference)
        return described.loss.per_example(y, jnp.array([3]), reference)[0]

    grads, dx = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, jnp.asarray(x))
    np.testing.assert_allclose(passed.input_gradient, dx[0], **LOOSE)
    for passage in passed.walk():
        here = grads
        for part in passage.name.split("."):
            here = here.get(part, {})
        for name, grad in passage.grads.items():
            np.testing.assert_allclose(grad, here[name], err_msg=passage.name, **LOOSE)


def test_what_a_layer_passes_back_is_the_delta_of_the_one_before(deep):
    layers = deep[-1].layers
    for before, after in pairwise(layers):
        np.testing.assert_array_equal(before.dy, after.dx)
        np.testing.assert_array_equal(before.y, after.x)


def test_a_block_gives_delta_to_both_paths(deep):
    (block,) = (p for p in deep[-1].layers if p.branches)
    ends = [branch[-1].dy for branch in block.branches.values()]
    np.testing.assert_array_equal(ends[0], block.dy)
    np.testing.assert_array_equal(ends[1], block.dy)
    starts = [branch[0].dx for branch in block.branches.values()]
    np.testing.assert_allclose(sum(starts), block.dx, **tolerance("float32"))
    assert [p.name for p in block.walk()][1] == "residual_1.layers.conv_1"


def test_of_each_window_one_element_wins(deep):
    (pool,) = (p for p in deep[-1].layers if p.layer.type == "max_pool")
    windows = pool.reached.reshape(4, 2, 4, 2, 4).swapaxes(1, 2).reshape(16, 4, 4)
    assert (windows.sum(axis=1) == 1).all()
    won = pool.x.reshape(4, 2, 4, 2, 4).swapaxes(1, 2).reshape(16, 4, 4)
    np.testing.assert_array_equal((windows * won).sum(axis=1), pool.y.reshape(16, 4))


SIGNAL = {"name": "fsdd", "front_end": {"frame_count": 12, "mel_bands": 4}}
KERNELS = {
    "convolution": ({"type": "conv", "window": [3, 2], "strides": [2, 1], "padding": 1}, None),
    "correlation": ({"type": "conv", "window": 3, "dilation": 2, "correlate": True}, None),
    "groups-of-a-signal": (
        {"type": "conv", "window": 3, "padding": "SAME", "groups": 2},
        SIGNAL,
    ),
    "filled": ({"type": "conv", "window": [3, 2], "padding": "REFLECT"}, None),
    "cropped": ({"type": "conv", "window": 2, "strides": 2, "padding": [[-1, 1], [0, -2]]}, None),
    "transposed-and-more": (
        {"type": "conv_transpose", "window": 3, "strides": 2, "padding": 1, "output_padding": 1},
        None,
    ),
    "transposed": ({"type": "conv_transpose", "window": 3, "strides": 2, "padding": 1}, None),
}


@pytest.mark.parametrize("name", slow_unless({"convolution"}.__contains__, KERNELS))
def test_the_terms_of_every_tap_add_up_to_the_rule(name):
    layer, data = KERNELS[name]
    passed = shown(experiment({**layer, "features": 4}, data=data))[-1].layers[0]
    for tap in product(*map(range, passed.grads["w"].shape)):
        terms = kernel_terms(passed, tap)
        assert terms.read.shape == terms.steady.shape
        np.testing.assert_allclose(terms.total, passed.grads["w"][tap], **LOOSE)


def test_the_tap_of_the_largest_gradient_is_chosen_and_its_largest_terms_come_first(deep):
    passage = deep[-1].layers[0]
    terms = kernel_terms(passage)
    assert abs(terms.rule) == np.abs(passage.grads["w"]).max()
    sizes = [abs(term[-1]) for term in terms.largest(9)]
    assert sizes == sorted(sizes, reverse=True)
    at, first, second, both = terms.largest(1)[0]
    assert first * second == pytest.approx(both)
    assert terms.products[at] == np.float32(both)


@pytest.mark.parametrize("tap", [(3, 0, 0, 0), (0, 0, 0), (0, 0, 0, -1)])
def test_a_tap_that_there_is_not(deep, tap):
    with pytest.raises(UserError, match="expected 4 numbers, up to 2,2,0,3"):
        kernel_terms(deep[-1].layers[0], tap)


def test_a_layer_without_taps_and_a_plane_that_is_not_read(deep):
    with pytest.raises(UserError, match="max_pool; expected a conv"):
        kernel_terms(deep[-1].layers[1])
    layer = Conv(features=4, window=3, padding="SAME", connections=[[0], [1], [0], [1]])
    passed = replace(deep[-1].layers[0], layer=layer)
    with pytest.raises(UserError, match="plane 1 does not read plane 0"):
        kernel_terms(passed, (1, 1, 0, 1))
