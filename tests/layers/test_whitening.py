"""What whitening does to patches, and how a sample of the training examples gets to it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import ops
from jcnn.layers import Context, Conv, Model, PatchWhitening, Relu, Residual, whitening

pytestmark = pytest.mark.usefixtures("mathematics")

KEY = jax.random.key(0)
CONTEXT = Context(ops)


def images(n=64):
    """Smooth images: neighbours are alike."""
    x = jax.random.normal(KEY, (n, 9, 8, 3))
    return x + jnp.roll(x, 1, 1) + jnp.roll(x, 1, 2) + x.sum(-1, keepdims=True)


def outputs(layer, state, x):
    params, _ = layer.init(KEY, x.shape[1:])
    return layer.apply(params, state, x, CONTEXT)[0]


def test_outputs_of_a_sample_are_uncorrelated_with_variance_one():
    layer, x = PatchWhitening(window=2, epsilon=1e-9), images()
    state = layer.calibrate(*layer.init(KEY, x.shape[1:]), x, CONTEXT)
    y = np.asarray(outputs(layer, state, x), np.float64).reshape(-1, 24)
    np.testing.assert_allclose(y[:, :12].T @ y[:, :12] / len(y), np.eye(12), atol=1e-3)
    np.testing.assert_array_equal(y[:, 12:], -y[:, :12])


def test_epsilon_holds_axes_without_variance():
    layer, x = PatchWhitening(window=2, epsilon=0.25), jnp.full((2, 4, 4, 1), 3.0)
    state = layer.calibrate(*layer.init(KEY, (4, 4, 1)), x, CONTEXT)
    # One axis has variance 4 * 9 = 36, the others none.
    np.testing.assert_allclose(outputs(layer, state, x).max(), 6 / np.sqrt(36.25), rtol=1e-5)


def test_patches_pass_unchanged_before():
    layer, x = PatchWhitening(window=2), images(2)
    y = outputs(layer, layer.init(KEY, x.shape[1:])[1], x)
    np.testing.assert_array_equal(y[..., :3], x[:, :-1, :-1])
    np.testing.assert_array_equal(y[..., 21:], -x[:, 1:, 1:])


def test_a_model_calibrates_from_layer_to_layer_within_blocks_too():
    inner = PatchWhitening(window=1, name="inner")
    model = Model(
        (
            PatchWhitening(window=2, name="outer"),
            Relu(),
            Residual(layers=(inner, Conv(features=24, window=1))),
        )
    )
    x = images()
    params, state = model.init(KEY, x.shape[1:])
    calibrated = model.calibrate(params, state, x, CONTEXT)
    assert model.needs_sample
    assert jax.tree.structure(calibrated) == jax.tree.structure(state)
    hidden = jax.nn.relu(outputs(model.layers[0], calibrated["outer"], x))
    expected = inner.calibrate({}, {"w": jnp.zeros((1, 1, 24, 48))}, hidden, CONTEXT)
    got = calibrated["residual_1"]["layers"]["inner"]["w"]
    np.testing.assert_allclose(got, expected["w"], rtol=1e-4, atol=1e-4)


def test_what_is_known_of_a_model_stays_and_the_rest_is_calibrated_behind_it():
    inner = PatchWhitening(window=1, name="inner")
    block = Residual(layers=(inner, Conv(features=24, window=1)))
    model = Model((PatchWhitening(window=2, name="outer"), block, PatchWhitening(name="last")))
    x = images()
    params, state = model.init(KEY, x.shape[1:])
    file = {"w": 2 * state["outer"]["w"]}
    got = model.calibrate(params, state | {"outer": file}, x, CONTEXT, {"outer": file})
    np.testing.assert_array_equal(got["outer"]["w"], file["w"])
    hidden = outputs(model.layers[0], file, x)
    expected = inner.calibrate({}, {"w": jnp.zeros((1, 1, 24, 48))}, hidden, CONTEXT)["w"]
    np.testing.assert_array_equal(got["residual_1"]["layers"]["inner"]["w"], expected)
    known = {"residual_1": {"layers": {"inner": {"w": expected}}}}
    again = model.calibrate(params, state, x, CONTEXT, known)
    np.testing.assert_array_equal(again["residual_1"]["layers"]["inner"]["w"], expected)
    assert np.abs(again["outer"]["w"] - file["w"]).max() > 0.1


def test_patches_are_added_up_in_parts_that_fit_into_memory(monkeypatch):
    layer, x = PatchWhitening(window=2), images()
    whole = layer.calibrate(*layer.init(KEY, x.shape[1:]), x, CONTEXT)["w"]
    monkeypatch.setattr(whitening, "_PATCHES", 5 * 8 * 7 + 3)
    most, patches = 0, whitening._patches

    def watched(x, *place):
        nonlocal most
        found = patches(x, *place)
        most = max(most, len(found))
        return found

    monkeypatch.setattr(whitening, "_patches", watched)
    parts = layer.calibrate(*layer.init(KEY, x.shape[1:]), x, CONTEXT)["w"]
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-5)
    assert most == 5 * 8 * 7


def test_a_sample_goes_no_further_than_the_last_layer_that_asks_for_it():
    class Unasked(Relu):
        def apply(self, params, state, x, context):
            raise AssertionError("it has no use for a sample")

    model = Model((Relu(), PatchWhitening(name="outer"), Unasked()))
    params, state = model.init(KEY, (9, 8, 3))
    assert np.any(model.calibrate(params, state, images(), CONTEXT)["outer"]["w"])


def test_a_model_without_such_layers_asks_for_no_sample():
    assert not Model((Conv(features=2, window=3), Residual(layers=(Relu(),)))).needs_sample
