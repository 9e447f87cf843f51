"""The time-delay networks of configs/: what the paper says of its one, and what both must do."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import load_experiment
from jcnn.augmentations import Shift, augment
from jcnn.errors import UserError

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
pytestmark = pytest.mark.usefixtures("mathematics")
# The paper's own problem: a phoneme of 15 frames, one of three.
PHONEME = {"data.front_end.frame_count": 15, "layers.4.window": 9}


def test_its_layers_are_the_papers():
    experiment = load_experiment(CONFIGS / "tdnn_1988.toml")
    shapes = dict(zip(experiment.model.names, experiment.model.shapes((64, 16)), strict=True))
    assert experiment.input_shape == (64, 16)
    assert shapes["conv_1"] == (62, 8)
    assert shapes["conv_2"] == (58, 10)
    assert shapes["flatten_1"] == (10,)
    assert [layer.type for layer in experiment.model.layers].count("sigmoid") == 2


def test_on_a_phoneme_its_layers_have_the_papers_units():
    experiment = load_experiment(CONFIGS / "tdnn_1988.toml", PHONEME)
    shapes = experiment.model.shapes(experiment.input_shape)
    assert shapes[0] == (13, 8)
    assert shapes[2] == (9, 10)
    assert shapes[-1] == (10,)


def test_its_front_end_normalises_each_coefficient_as_the_paper_tells():
    front_end = load_experiment(CONFIGS / "tdnn_1988.toml").data.front_end
    assert front_end.normalization == "coefficient"
    assert (front_end.mel_bands, front_end.frame_ms, front_end.subframes) == (16, 10.0, 2)


def test_a_later_utterance_has_the_same_output():
    experiment = load_experiment(CONFIGS / "tdnn_1988.toml")
    model = experiment.model
    params, state = model.init(jax.random.key(0), experiment.input_shape)
    padding = experiment.data.front_end.padding_value
    x = np.full((2, *experiment.input_shape), padding, np.float32)
    x[0, 10:40] = np.random.default_rng(0).uniform(-1, 1, (30, 16))
    x[1] = np.roll(x[0], 9, axis=0)
    y, _ = model.apply(params, state, jnp.asarray(x))
    np.testing.assert_allclose(y[1], y[0], rtol=1e-5)


def test_its_outputs_begin_in_reach_of_their_targets():
    experiment = load_experiment(CONFIGS / "tdnn_1988.toml")
    params, state = experiment.model.init(jax.random.key(0), experiment.input_shape)
    x = jax.random.uniform(jax.random.key(1), (8, *experiment.input_shape), minval=-1.0)
    y, _ = experiment.model.apply(params, state, x)
    assert float(y.mean()) < 1


@pytest.mark.parametrize("name", ["tdnn_1988", "tdnn_modern"])
@pytest.mark.parametrize("speaker", [None, "theo"])
def test_a_speaker_can_be_left_out_by_an_override(name, speaker):
    overrides = {} if speaker is None else {"data.held_out_speaker": speaker}
    experiment = load_experiment(CONFIGS / f"{name}.toml", overrides)
    assert experiment.data.held_out_speaker == speaker
    assert experiment.data.validation_count is None


def test_an_augmentation_of_images_is_refused_for_signals():
    with pytest.raises(UserError, match=r"training.augment: 'affine' needs images .* are 64x16"):
        load_experiment(CONFIGS / "tdnn_modern.toml", {"training.augment": [{"name": "affine"}]})


def test_a_shift_moves_a_signal_in_time_alone():
    x = jnp.broadcast_to(jnp.arange(1.0, 9.0)[None, :, None], (4, 8, 3))
    moved = augment((Shift(pixels=2),), jax.random.key(0), x)
    assert bool((moved == moved[..., :1]).all())
