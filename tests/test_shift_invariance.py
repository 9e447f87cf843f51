"""The moved digit: the experiments' premises, and the figure of accuracy against shift."""

from __future__ import annotations

import gzip
import runpy
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jcnn.cli import main
from jcnn.config import load_experiment
from jcnn.inspection.summary import summarize
from jcnn.training import train
from tests.data.formats import idx_bytes

ROOT = Path(__file__).parent.parent
NAMES = ("shift_invariance", "shift_invariance_dense")


def test_the_twins_have_as_many_parameters_and_the_same_data():
    pair = [load_experiment(ROOT / "configs" / f"{name}.toml") for name in NAMES]
    one, two = (summarize(experiment)["parameters"] for experiment in pair)
    assert abs(one - two) / one < 0.03
    assert pair[0].data == pair[1].data


@pytest.mark.slow
def test_the_convolutional_network_is_blind_to_a_shift_by_its_stride():
    """Its pools take every fourth place: moved by four, the same windows hold the same pixels."""
    model = load_experiment(ROOT / "configs" / "shift_invariance.toml").model
    params, state = model.init(jax.random.key(0), (44, 44, 1))
    x = np.zeros((1, 44, 44, 1), np.float32)
    x[0, 18:26, 18:26, 0] = np.random.default_rng(0).uniform(size=(8, 8))
    apply = jax.jit(model.apply)
    middle, _ = apply(params, state, x)
    moved, _ = apply(params, state, np.roll(x, (4, -4), (1, 2)))
    beside, _ = apply(params, state, np.roll(x, (1, 0), (1, 2)))
    np.testing.assert_allclose(moved, middle, rtol=1e-4, atol=1e-5)
    assert np.abs(np.asarray(beside) - middle).max() > 1e-3


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    """A run on 20 digits of noise, with room for two pixels."""
    monkeypatch.setenv("JCNN_DATA", str(tmp_path))
    monkeypatch.setenv("JCNN_CACHE", "")
    (tmp_path / "mnist").mkdir()
    for prefix in ("train", "t10k"):
        images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)
        labels = np.arange(20, dtype=np.uint8) % 10
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            path = tmp_path / "mnist" / f"{prefix}-{name}-ubyte.gz"
            path.write_bytes(gzip.compress(idx_bytes(array)))
    overrides: dict[str, object] = {
        "data.canvas_size": 32,
        "data.train_count": 20,
        "training.batch_size": 10,
        "training.epochs": 1,
    }
    experiment = load_experiment(ROOT / "configs" / "shift_invariance_dense.toml", overrides)
    train(experiment, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.slow
def test_the_figure_is_drawn(run, tmp_path, monkeypatch, capsys):
    out = tmp_path / "figures" / "shift.png"
    script = ROOT / "scripts" / "shift_figure"
    monkeypatch.setattr(sys, "argv", [str(script), str(run), "--out", str(out)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said[0].split()) == 1 + 3
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_finished_run_is_measured_on_moved_digits_and_nothing_else(run, capsys):
    moved = ["evaluate", str(run), "--set", "data.test_shift_pixels=2", "--json"]
    assert main(moved) == 0
    capsys.readouterr()
    assert main(["evaluate", str(run), "--set", "data.test_shift_pixels=9"]) == 2
    assert "test_shift_pixels <= 2" in capsys.readouterr().err
    assert main(["evaluate", str(run), "--set", "seed=1"]) == 2
    assert "--set seed: of a run's folder, only keys of data" in capsys.readouterr().err
