import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import TypeAdapter

from jcnn import ops
from jcnn.errors import UserError
from jcnn.layers import Context, Conv, ConvTranspose
from jcnn.layers.initializers import AnyInitializer

FAN_IN, FAN_OUT = 50, 200
pytestmark = pytest.mark.usefixtures("mathematics")


def _draw(written):
    initializer = TypeAdapter(AnyInitializer).validate_python(written)
    return initializer.draw(jax.random.key(0), (200, 500), FAN_IN, FAN_OUT)


@pytest.mark.parametrize(
    ("written", "std"),
    [
        ("he_normal", np.sqrt(2 / FAN_IN)),
        ("lecun_normal", np.sqrt(1 / FAN_IN)),
        ({"name": "gaussian", "std": 0.3}, 0.3),
        ("glorot_uniform", np.sqrt(2 / (FAN_IN + FAN_OUT))),
        ("uniform_fan_in", 2.4 / FAN_IN / np.sqrt(3)),
        ({"name": "uniform_root_fan_in", "gain": 1.0}, 1 / np.sqrt(FAN_IN) / np.sqrt(3)),
    ],
    ids=["he", "lecun", "gaussian", "glorot", "uniform fan-in", "uniform root fan-in"],
)
def test_deviation_is_the_stated_one(written, std):
    w = _draw(written)
    assert w.dtype == jnp.float32
    assert float(w.std()) == pytest.approx(std, rel=0.02)
    assert abs(float(w.mean())) < 0.02 * std


def test_uniform_stays_within_its_bound_and_reaches_it():
    largest = float(abs(_draw({"name": "uniform_fan_in", "gain": 2.4})).max())
    assert 0.99 * 2.4 / FAN_IN < largest <= 2.4 / FAN_IN


@pytest.mark.parametrize(("channels", "features"), [(4, 6), (6, 4)])
def test_dirac_copies_as_many_channels_as_there_are(channels, features):
    initializer = TypeAdapter(AnyInitializer).validate_python("dirac")
    shape = (3, 3, channels, features)
    w = initializer.draw(jax.random.key(0), shape, 9 * channels, 9 * features)
    x = jax.random.normal(jax.random.key(1), (2, 5, 5, channels))
    y = jax.jit(lambda x, w: ops.convolve(x, w, padding="SAME"))(x, w)
    np.testing.assert_allclose(y[..., :4], x[..., :4], rtol=1e-5, atol=1e-6)
    assert abs(w[..., 4:]).max(initial=0) <= 1 / np.sqrt(9 * channels)
    assert (w[..., 4:] != 0).all()


@pytest.mark.parametrize(("channels", "features"), [(4, 6), (6, 4), (6, 6)])
@pytest.mark.parametrize("kind", [Conv, ConvTranspose])
def test_dirac_copies_the_channels_of_each_group(kind, channels, features):
    layer = kind(features=features, window=3, padding="SAME", groups=2, initializer="dirac")
    x = jax.random.normal(jax.random.key(1), (2, 5, 5, channels))
    params, _ = layer.init(jax.random.key(0), x.shape[1:])
    y, _ = layer.apply(params, {}, x, Context(ops))
    both = min(channels, features) // 2
    for group in range(2):
        read, made = group * channels // 2, group * features // 2
        copied, read_from = y[..., made : made + both], x[..., read : read + both]
        np.testing.assert_allclose(copied, read_from, rtol=1e-5, atol=1e-6)
        assert params["w"][..., made + both : made + features // 2].all()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"window": [3, 2]}, r"dirac.* expected odd sizes, found window = \[3, 2\]"),
        ({"connections": [[0], [0]]}, r"dirac.* input 1 into plane 1: .* found \[0\]"),
    ],
)
def test_dirac_is_refused_where_it_could_not_copy(keys, message):
    layer = Conv(**{"features": 2, "window": 3, "initializer": "dirac", **keys})
    with pytest.raises(UserError, match=message):
        layer.output_shape((8, 8, 2))


@pytest.mark.parametrize(("window", "strides"), [(3, 1), (4, 2), (3, 3)])
def test_a_transposed_convolution_keeps_the_variance(window, strides):
    """A unit reads window / strides taps along an axis, on average."""
    layer = ConvTranspose(
        features=64, window=window, strides=strides, initializer={"name": "lecun_normal"}
    )
    x = jax.random.normal(jax.random.key(1), (8, 12, 12, 64))
    params, state = layer.init(jax.random.key(0), x.shape[1:])
    y, _ = layer.apply(params, state, x, Context(ops))
    margin = window * strides
    assert y[:, margin:-margin, margin:-margin].var() == pytest.approx(1, rel=0.1)


def test_same_key_same_weights():
    assert jnp.array_equal(_draw("he_normal"), _draw("he_normal"))
