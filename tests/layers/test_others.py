"""Dense, pools, normalisation, dropout and residual blocks: what is particular to each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import layers, ops
from jcnn.errors import UserError

pytestmark = pytest.mark.usefixtures("mathematics")

KEY = jax.random.key(0)


def _apply(layer, params, state, x, *, training=False, key=None):
    return layer.apply(params, state, x, layers.Context(ops, training, key))


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (layers.Dense(features=3), (4, 4, 2), "put a 'flatten' layer before it"),
        (layers.MaxPool(window=5), (4, 4, 2), "window 5x5 is larger"),
        (layers.MaxPool(window=2, padding=2), (4, 4, 2), "padding must be smaller than the window"),
        (layers.Decimate(factor=(2, 2)), (4, 2), "factor must have one entry for each of the 1"),
        (layers.GlobalMaxPool(), (4,), "its input is flat"),
        (
            layers.Reshape(shape=(3, 3)),
            (4, 4, 2),
            "shape 3x3 holds 9 values, and its input 4x4x2 holds",
        ),
        (
            layers.Residual(layers=(layers.Conv(features=3, window=3),)),
            (4, 4, 2),
            "its layers give 2x2x3 and its shortcut gives 4x4x2",
        ),
        (
            layers.Residual(layers=(layers.Relu(), layers.Conv(features=3, window=9))),
            (4, 4, 2),
            r"layer 2 'conv_1' \(conv\): window 9x9",
        ),
    ],
)
def test_layer_that_does_not_fit_says_why(layer, shape, message):
    with pytest.raises(UserError, match=message):
        layer.output_shape(shape)


def test_pad_takes_no_name_of_a_padding():
    for padding in ("SAME", 1.5):
        with pytest.raises(UserError, match=r"^Pad: padding: expected an integer, or a list"):
            layers.Pad(padding=padding)


def test_pad_surrounds_with_its_value():
    y, _ = _apply(layers.Pad(padding=1, value=-1.0), {}, {}, jnp.zeros((1, 2, 2, 1)))
    assert float(y.sum()) == -12.0
    assert (y[0, 1:3, 1:3] == 0).all()


def test_a_neighbourhood_of_more_channels_than_there_are_is_all_of_them():
    x = jax.random.normal(KEY, (2, 3, 4))
    y, _ = _apply(layers.LocalResponseNorm(size=10**9, scale=0.5), {}, {}, x)
    every = ops.local_response_norm(x, size=9, scale=0.5, offset=2.0, power=0.75)
    assert np.array_equal(y, every)


def test_flatten_keeps_row_major_order():
    x = jnp.arange(24.0).reshape(2, 3, 2, 2)
    y, _ = _apply(layers.Flatten(), {}, {}, x)
    assert jnp.array_equal(y.ravel(), x.ravel())


def test_batch_norm_normalises_in_training_and_remembers_running_statistics():
    layer = layers.BatchNorm(momentum=0.75)
    x = 3 + 2 * jax.random.normal(KEY, (64, 4, 4, 2))
    params, state = layer.init(KEY, (4, 4, 2))
    y, state = _apply(layer, params, state, x, training=True)
    axes = (0, 1, 2)
    assert np.allclose(y.mean(axes), 0, atol=1e-5)
    assert np.allclose(y.var(axes), 1, atol=1e-4)
    assert np.allclose(state["mean"], 0.25 * x.mean(axes), rtol=1e-4)
    assert np.allclose(state["variance"], 0.75 + 0.25 * x.var(axes), rtol=1e-4)


def test_batch_norm_evaluates_with_its_state_and_leaves_it():
    layer = layers.BatchNorm(epsilon=1e-6)
    params, _ = layer.init(KEY, (2,))
    state = {"mean": jnp.array([1.0, 2.0]), "variance": jnp.array([4.0, 9.0])}
    y, after = _apply(layer, params, state, jnp.array([[3.0, 5.0]]))
    assert np.allclose(y, [[1.0, 1.0]], rtol=1e-5)
    assert after is state


def test_running_statistics_of_half_precision_are_those_of_float32():
    """Of a mean of 8 bfloat16 holds three digits, the running one seven."""
    layer = layers.BatchNorm(momentum=0.0)
    params, state = layer.init(KEY, (2,))
    x = (8 + jax.random.normal(KEY, (512, 2))).astype(jnp.bfloat16)
    y, state = _apply(layer, params, state, x, training=True)
    assert y.dtype == jnp.bfloat16
    wide = np.asarray(x, np.float64)
    assert np.allclose(state["mean"], wide.mean(0), rtol=1e-6)
    assert np.allclose(state["variance"], wide.var(0), rtol=1e-5)
    evaluated, _ = _apply(layer, params, state, x)
    assert np.allclose(evaluated, y, rtol=0.01, atol=0.01)


def test_no_example_leaves_the_running_statistics():
    layer = layers.BatchNorm()
    params, state = layer.init(KEY, (4, 2))
    y, after = _apply(layer, params, state, jnp.zeros((0, 4, 2)), training=True)
    assert y.shape == (0, 4, 2)
    assert after is state


def test_dropout_acts_in_training_only():
    layer, x = layers.Dropout(drop_rate=0.25), jnp.ones((100, 100))
    y, _ = _apply(layer, {}, {}, x, training=True, key=KEY)
    assert float((y == 0).mean()) == pytest.approx(0.25, abs=0.02)
    assert np.allclose(y[y != 0], 1 / 0.75)
    assert _apply(layer, {}, {}, x)[0] is x


def test_dropout_without_a_key_says_so():
    with pytest.raises(ValueError, match="training needs a key"):
        _apply(layers.Dropout(), {}, {}, jnp.ones((2, 2)), training=True)


def test_residual_adds_its_input():
    layer = layers.Residual(
        layers=(layers.Conv(features=2, window=3, padding="SAME"), layers.BatchNorm())
    )
    params, state = layer.init(KEY, (4, 4, 2))
    x = jax.random.normal(KEY, (3, 4, 4, 2))
    y, after = _apply(layer, params, state, x, training=True)
    body = {name: part["layers"] for name, part in (("params", params), ("state", state))}
    inner, _ = layers.Sequence(layer.layers).apply(
        body["params"], body["state"], x, layers.Context(ops, training=True)
    )
    assert np.allclose(y, x + inner, rtol=1e-6)
    assert set(after["layers"]) == {"batch_norm_1"}
    assert "shortcut" not in params


def test_residual_shortcut_has_parameters_of_its_own():
    layer = layers.Residual(
        layers=(layers.Conv(features=4, window=3, padding="SAME"),),
        shortcut=(layers.Conv(features=4, window=1),),
    )
    params, _ = layer.init(KEY, (4, 4, 2))
    assert params["layers"]["conv_1"]["w"].shape == (3, 3, 2, 4)
    assert params["shortcut"]["conv_1"]["w"].shape == (1, 1, 2, 4)
    assert layer.cost((4, 4, 2)).parameters == 9 * 8 + 4 + 8 + 4


def test_a_border_may_come_from_the_input_itself():
    x = jnp.arange(1.0, 4.0).reshape(1, 3, 1)
    for mode, expected in {
        "circular": [3, 1, 2, 3, 1],
        "reflect": [2, 1, 2, 3, 2],
        "replicate": [1, 1, 2, 3, 3],
    }.items():
        y, _ = _apply(layers.Pad(padding=1, mode=mode), {}, {}, x)
        assert y.ravel().tolist() == expected
    with pytest.raises(UserError, match='padding must be at least 0 with mode = "reflect"'):
        layers.Pad(padding=-1, mode="reflect").output_shape((4, 3))
    with pytest.raises(UserError, match="leaves nothing of the input 4"):
        layers.Pad(padding=-2).output_shape((4, 3))
