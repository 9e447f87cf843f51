"""The zip-code networks: the one of 1989 to the last connection, and today's."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn.config import load_experiment
from jcnn.inspection.summary import summarize
from jcnn.training import Step

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
pytestmark = pytest.mark.usefixtures("mathematics")


@pytest.fixture(scope="module")
def of_1989():
    return load_experiment(CONFIGS / "zipcode_1989.toml")


def test_counts_are_those_of_the_paper(of_1989):
    summary = summarize(of_1989)
    counts = {name: summary[name] for name in ("units", "connections", "parameters")}
    assert counts == {"units": 1256, "connections": 64660, "parameters": 9760}


def test_training_is_that_of_the_paper(of_1989):
    assert (of_1989.training.epochs, of_1989.training.batch_size) == (23, 1)
    assert of_1989.training.augment == ()
    assert of_1989.loss.name == "mean_squared_error"
    assert of_1989.loss.targets == (-1, 1)


def test_every_plane_of_h2_reads_eight_of_h1_and_every_plane_of_h1_is_read_alike(of_1989):
    (h2,) = (layer for layer in of_1989.layers if layer.name == "H2")
    assert [len(inputs) for inputs in h2.connections] == [8] * 12
    assert np.bincount(np.concatenate(h2.connections)).tolist() == [8] * 12


def test_weights_that_are_not_connected_stay_zero(of_1989):
    (h2,) = (layer for layer in of_1989.layers if layer.name == "H2")
    x = jax.random.uniform(jax.random.key(0), (1, 16, 16, 1), minval=-1.0)
    step = Step(of_1989, steps_per_epoch=10)
    state, _ = jax.jit(step)(step.init(), x, jnp.array([3]), jax.random.key(1))
    w = np.asarray(state.params["H2"]["w"])
    for plane, inputs in enumerate(h2.connections):
        absent = sorted(set(range(12)) - set(inputs))
        assert not w[:, :, absent, plane].any()
        assert w[:, :, list(inputs), plane].all()


def test_todays_network_fits_the_same_digits():
    modern = load_experiment(CONFIGS / "zipcode_modern.toml")
    assert modern.data.name == "usps"
    # The background of these digits is -1; what moves in from outside must be background.
    assert [change.fill for change in modern.training.augment] == [-1.0]
