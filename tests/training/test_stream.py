"""A data set that is read while it is used trains as one that lives on the device."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import jax
import numpy as np
import pytest

from jcnn import ops
from jcnn.data import Digits, Split
from jcnn.layers import Context
from jcnn.runs import Run
from jcnn.training import (
    Interrupted,
    NonFiniteError,
    evaluate,
    load_failure,
    load_trained,
    train,
)
from jcnn.training.keys import shuffled
from jcnn.training.progress import Progress

BAD = 40  # of 300 examples: one step of nine has it


class Stream:
    """The digits, in the very order in which the device would take them."""

    def __init__(self, train: Split, test: Split) -> None:
        self._train, self._test = train, test
        self.classes = tuple("0123456789")
        self.train_count = len(train)

    def labels(self, split):
        return {"train": self._train.y, "test": self._test.y}.get(split)

    def train_batches(self, batch_size, *, seed, start_step=0):
        steps, step = self.train_count // batch_size, start_step
        while True:
            epoch, place = divmod(step, steps)
            order = shuffled(seed, epoch, self.train_count)
            rows = order[place * batch_size : (place + 1) * batch_size]
            yield self._train.x[rows], self._train.y[rows]
            step += 1

    def batches(self, split, batch_size, *, mixed=False):
        part = {"train": self._train, "test": self._test}[split]
        if mixed:
            part = part.take(np.random.default_rng(0).permutation(len(part)))
        for first in range(0, len(part), batch_size):
            rows = slice(first, first + batch_size)
            yield part.x[rows], part.y[rows]


@pytest.fixture
def streaming(monkeypatch):
    def stream(data: Digits) -> Stream:
        loaded = data.load()
        return Stream(loaded.train, loaded.test)

    return lambda: monkeypatch.setattr(Digits, "stream", stream)


class StopAt(Progress):
    def __init__(self, step: int) -> None:
        self._step = step

    def stepped(self, step, means, images_per_second):
        if step >= self._step:
            os.kill(os.getpid(), signal.SIGTERM)


def params(folder: Path) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(load_trained(folder).state.params)]


@pytest.mark.slow
def test_streamed_resumed_and_resident_training_agree(tiny, tmp_path, streaming):
    resident = train(tiny(), tmp_path / "resident")
    streaming()
    one_by_one = tiny({"training.steps_per_dispatch": 1})
    with pytest.raises(Interrupted):
        train(one_by_one, tmp_path / "run", progress=StopAt(13))
    streamed = train(one_by_one, tmp_path / "run", resume=True)
    train(tiny(), tmp_path / "whole")
    for one, two in zip(params(tmp_path / "run"), params(tmp_path / "whole"), strict=True):
        np.testing.assert_array_equal(one, two)
    for one, two in zip(params(tmp_path / "run"), params(tmp_path / "resident"), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    assert streamed["test"]["loss"] == pytest.approx(resident["test"]["loss"], rel=1e-4)
    assert evaluate(tmp_path / "run")["loss"] == streamed["test"]["loss"]


@pytest.mark.slow
def test_whitening_takes_its_sample_from_the_first_batch(tiny, tmp_path, streaming):
    streaming()
    layers = [
        {"type": "patch_whitening"},
        {"type": "flatten"},
        {"type": "dense", "features": 10},
    ]
    experiment = tiny({"layers": layers, "training.epochs": 1})
    train(experiment, tmp_path / "run")
    first, _ = next(experiment.data.stream().train_batches(32, seed=0))
    layer = experiment.layers[0]
    expected = layer.calibrate(*layer.init(jax.random.key(0), first.shape[1:]), first, Context(ops))
    learned = load_trained(tmp_path / "run").state.state["patch_whitening_1"]["w"]
    np.testing.assert_array_equal(learned, expected["w"])


def test_an_evaluation_of_a_stream_ends_when_its_time_is_over(tiny, tmp_path, streaming):
    streaming()
    overrides = {"training.evaluate_max_seconds": 1e-9, "training.epochs": 2}
    summary = train(tiny(overrides), tmp_path / "run")
    first, last = (r for r in Run(tmp_path / "run").metrics() if r["split"] == "test")
    assert (first["examples"], first["of"]) == (128, 360)
    assert "examples" not in last
    assert summary["test"]["accuracy"] == evaluate(tmp_path / "run")["accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_what_fails_on_a_stream_is_kept_with_its_own_batch(tiny, tmp_path, monkeypatch, precision):
    """Steps after it are under way by then, and their batches are read; float16's are guarded."""

    def stream(data: Digits) -> Stream:
        loaded = data.load()
        x = loaded.train.x.copy()
        x[BAD, 0, 0] = np.inf
        return Stream(Split(x, loaded.train.y), loaded.test)

    monkeypatch.setattr(Digits, "stream", stream)
    with pytest.raises(NonFiniteError) as stop:
        train(tiny({"training.precision": precision}), tmp_path / "run")
    (place,) = np.flatnonzero(shuffled(0, 0, 300) == BAD)
    assert (stop.value.step, stop.value.tensor) == (place // 32 + 1, "loss")
    failure = load_failure(tmp_path / "run")
    assert int(failure.state.step) == place // 32
    assert np.isinf(failure.batch[0]).sum() == 1
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(failure.state))
