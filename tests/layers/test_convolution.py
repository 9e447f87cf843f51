import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import ops
from jcnn.errors import UserError
from jcnn.layers import Context, Conv, ConvTranspose

KEY = jax.random.key(0)
pytestmark = pytest.mark.usefixtures("mathematics")
TABLE = ((0, 1), (1, 2), (0, 2), (0, 1, 2))


def _apply(layer, params, x):
    return layer.apply(params, {}, x, Context(ops))[0]


def test_conv_flips_its_kernel_unless_it_correlates():
    x = jnp.array([1.0, 2.0, 4.0]).reshape(1, 3, 1)
    params = {"w": jnp.array([1.0, 10.0]).reshape(2, 1, 1), "b": jnp.zeros(1)}
    flipped = _apply(Conv(features=1, window=2), params, x)
    unflipped = _apply(Conv(features=1, window=2, correlate=True), params, x)
    assert flipped.ravel().tolist() == [12.0, 24.0]
    assert unflipped.ravel().tolist() == [21.0, 42.0]


def test_absent_connections_are_zero_and_get_no_gradient():
    layer = Conv(features=4, window=3, connections=TABLE)
    params, _ = layer.init(KEY, (6, 6, 3))
    x = jax.random.normal(KEY, (2, 6, 6, 3))
    absent = np.ones((3, 4), bool)
    for plane, inputs in enumerate(TABLE):
        absent[list(inputs), plane] = False
    gradient = jax.grad(lambda p: _apply(layer, p, x).sum())(params)["w"]
    assert (params["w"][:, :, absent] == 0).all()
    assert (gradient[:, :, absent] == 0).all()
    assert (gradient[:, :, ~absent] != 0).all()


def test_absent_connections_do_not_act_even_where_their_weights_are_not_zero():
    layer = Conv(features=4, window=3, connections=TABLE)
    params, _ = layer.init(KEY, (6, 6, 3))
    x = jax.random.normal(KEY, (2, 6, 6, 3))
    polluted = {**params, "w": jnp.where(params["w"] == 0, 7.0, params["w"])}
    assert jnp.array_equal(_apply(layer, params, x), _apply(layer, polluted, x))


def test_initial_bound_follows_each_planes_own_fan_in():
    layer = Conv(
        features=4, window=3, connections=TABLE, initializer={"name": "uniform_fan_in", "gain": 2.4}
    )
    w = layer.init(KEY, (6, 6, 3))[0]["w"]
    for plane, inputs in enumerate(TABLE):
        bound = 2.4 / (9 * len(inputs))
        assert 0.5 * bound < float(abs(w[..., plane]).max()) <= bound


def test_biases_per_position_have_the_shape_of_the_output():
    layer = Conv(features=12, window=5, strides=2, bias="position", bias_value=0.5)
    params, _ = layer.init(KEY, (20, 20, 1))
    assert params["b"].shape == (8, 8, 12)
    assert (params["b"] == 0.5).all()


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (
            Conv(features=2, window=5),
            (4, 4, 1),
            r"window 5x5 is larger than its input 4x4 \(with padding 0\)",
        ),
        (
            Conv(features=2, window=3, dilation=3),
            (4, 4, 1),
            r"window 3x3 \(7x7 with its dilation\) is larger",
        ),
        (Conv(features=2, window=3), (9,), "its input is flat"),
        (Conv(features=2, window=(3, 3)), (9, 1), "window must have one entry for each of the 1"),
        (
            Conv(features=2, window=3, strides=(1, 1, 1)),
            (9, 9, 1),
            "strides must have one entry for each of the 2",
        ),
        (Conv(features=2, window=3, padding=((1, 1),)), (9, 9, 1), "one pair for each of the 2"),
        (Conv(features=4, window=3, groups=2), (9, 9, 3), "does not divide its 3 input channels"),
        (Conv(features=3, window=3, groups=2), (9, 9, 4), "does not divide its 3 features"),
        (Conv(features=2, window=3, connections=((0,),)), (9, 9, 3), "one for each of its 2"),
        (Conv(features=1, window=3, connections=((0, 3),)), (9, 9, 3), "distinct numbers from 0"),
        (Conv(features=1, window=3, connections=((1, 1),)), (9, 9, 3), "distinct numbers from 0"),
        (ConvTranspose(features=1, window=2, padding=9), (4, 4, 1), "leaves nothing of the output"),
    ],
)
def test_layer_that_does_not_fit_says_why(layer, shape, message):
    with pytest.raises(UserError, match=message):
        layer.output_shape(shape)


@pytest.mark.parametrize(
    "wrong",
    [
        {"features": 0},
        {"features": "8"},
        {"features": True},
        {"window": 0},
        {"window": [3, -1]},
        {"window": 2.5},
        {"padding": "HALF"},
        {"padding": 0.5},
        {"padding": [-1, True]},
        {"padding": [[1, 2, 3]]},
        {"bias": "both"},
        {"initializer": "he"},
        {"connections": [[]]},
        {"connections": [[-1]]},
        {"windw": 3},
    ],
)
def test_wrong_fields_are_refused(wrong):
    (key,) = wrong
    with pytest.raises(UserError, match=rf"^Conv: {key}"):
        Conv(**{"features": 4, "window": 3, **wrong})


def test_names_of_paddings_are_kept_in_capitals():
    assert Conv(features=4, window=3, padding="same_lower").padding == "SAME_LOWER"


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (Conv(features=4, window=3, padding="circular", strides=2), (7, 8, 3), (4, 4, 4)),
        (Conv(features=4, window=3, padding=-1), (7, 8, 3), (3, 4, 4)),
        (ConvTranspose(features=2, window=3, strides=2, padding=1), (4, 3), (7, 2)),
        (
            ConvTranspose(features=2, window=3, strides=2, padding=1, output_padding=1),
            (4, 3),
            (8, 2),
        ),
        (ConvTranspose(features=2, window=2, padding=((-1, -2),)), (4, 3), (8, 2)),
    ],
)
def test_shapes_of_borders(layer, shape, expected):
    assert layer.output_shape(shape) == expected


def test_output_padding_is_refused_where_the_strides_are_smaller():
    layer = ConvTranspose(features=2, window=3, strides=2, output_padding=2)
    with pytest.raises(UserError, match="output_padding must be smaller than the strides"):
        layer.output_shape((4, 3))
    with pytest.raises(UserError):
        ConvTranspose(features=2, window=3, output_padding=-1)
