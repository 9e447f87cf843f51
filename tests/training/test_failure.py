"""A loss or a gradient that is not finite stops the run, or its step is skipped; both are told."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import ops
from jcnn.config import load_experiment
from jcnn.data import Digits, Split
from jcnn.errors import UserError
from jcnn.inspection.failure import Dissection, _passage, dissect, print_dissection
from jcnn.runs import Run
from jcnn.training import Failure, NonFiniteError, Step, keys, load_failure, load_trained, train

# They start processes, train or compile much.
pytestmark = pytest.mark.slow

BAD = 40  # of 300 examples: one step of nine has it


@pytest.fixture
def poisoned(monkeypatch):
    """One training example with an infinite pixel."""
    load = Digits.load

    def loaded(self: Digits):
        data = load(self)
        x = data.train.x.copy()
        x[BAD, 0, 0] = np.inf
        return type(data)(Split(x, data.train.y), data.test, data.classes)

    monkeypatch.setattr(Digits, "load", loaded)


def stopped(experiment, folder: Path, **options) -> NonFiniteError:
    with pytest.raises(NonFiniteError) as stop:
        train(experiment, folder, **options)
    return stop.value


@pytest.mark.parametrize("steps", [1, 1000])
def test_a_loss_that_is_not_finite_stops_the_run_and_is_kept(tiny, tmp_path, poisoned, steps):
    experiment = tiny({"training.steps_per_dispatch": steps})
    error = stopped(experiment, tmp_path / "run")
    assert 1 <= error.step <= 9
    assert (error.epoch, error.tensor) == (1, "loss")
    assert "jcnn check" in str(error)
    assert not (tmp_path / "run" / "summary.json").exists()
    failure = load_failure(tmp_path / "run")
    assert int(failure.state.step) == error.step - 1
    assert np.isinf(failure.batch[0]).sum() == 1
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(failure.state))


@pytest.mark.slow
def test_what_stopped_it_is_taken_apart(tiny, tmp_path):
    layers = [{"type": "flatten"}, *({"type": "dense", "features": 10} for _ in range(2))]
    steep = {"name": "adam", "learning_rate": 1e30}
    error = stopped(tiny({"layers": layers, "optimizer": steep}), tmp_path / "run")
    assert error.step == 2
    dissection = dissect(load_failure(tmp_path / "run"))
    assert dissection.first is not None
    assert (dissection.first.what, dissection.first.layer) == ("output", "dense_2")
    assert "the output of dense in dense_2 is the first" in dissection.verdict
    assert json.loads(json.dumps(dissection.to_dict()))["tensor"] == "loss"


def test_the_gradient_of_a_finite_loss_is_named_by_its_parameter(tiny, tmp_path, monkeypatch):
    @jax.custom_vjp
    def dense(x, w, b):
        return x @ w + b

    def backward(kept, dy):
        x, w = kept
        return dy @ w.T, x.T @ dy * jnp.inf, dy.sum(0)

    dense.defvjp(lambda x, w, b: (dense(x, w, b), (x, w)), backward)
    monkeypatch.setattr(ops, "dense", dense)
    error = stopped(tiny(), tmp_path / "run", ops=ops)
    assert (error.step, error.tensor) == (1, "dense_1.w")
    first = dissect(load_failure(tmp_path / "run")).first
    assert first is not None
    assert str(first) == "the gradient of dense_1.w"


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_what_is_taken_apart_is_the_step_itself(lively, precision):
    """Frozen layers are applied as in evaluation and have no gradients; a loss is scaled."""
    rates = {"dense_1": 0.0, "batch_norm_1": 0.0}
    experiment = lively({"optimizer.rates": rates, "training.precision": precision})
    step, batch = Step(experiment), _batch(experiment)
    state = step.init()
    x, key = step.prepared(batch[0], keys.step_key(experiment.seed, state.step), state.step)
    gradients, (_, totals) = step.gradients(state, x, batch[1], key)
    record = {"step": 1, "epoch": 1, "tensor": "loss", "value": "nan"}
    passages = dissect(Failure(experiment, state, batch, record)).passages
    found = {(p.layer, p.name): p.largest for p in passages if p.what == "gradient"}
    for layer, own in gradients.items():
        for name, gradient in own.items():
            largest = float(np.abs(gradient).max())
            assert found[layer, name] == pytest.approx(largest, rel=1e-2)
            assert (largest == 0) == (layer in rates)
    (loss,) = (p.largest for p in passages if p.what == "loss")
    assert loss == pytest.approx(float(totals.loss) / len(x), rel=1e-3)


def test_a_tensor_without_a_finite_element_has_no_largest(capsys):
    passages = tuple(
        _passage("output", "dense_1", name, np.array(values))
        for name, values in (("lost", [np.nan, np.inf]), ("part", [np.nan, -2.0]), ("none", []))
    )
    assert [passage.largest for passage in passages] == [None, 2.0, None]
    record = {"step": 1, "epoch": 1, "tensor": "loss", "value": "nan"}
    print_dissection(Dissection(record, passages))
    lost, part = capsys.readouterr().out.splitlines()[3:5]
    assert (lost.split()[-2:], part.split()[-2:]) == (["–", "2"], ["2.00e+00", "1"])


def test_what_is_taken_apart_is_of_its_own_epoch(tiny):
    """Images are mirrored in every other epoch."""
    experiment = tiny({"training.augment": [{"name": "flip", "alternate": True}]})
    step, batch = Step(experiment, steps_per_epoch=9), _batch(experiment)
    state = step.init()._replace(step=jnp.int32(9))
    x, key = step.prepared(batch[0], keys.step_key(experiment.seed, state.step), state.step)
    _, (_, totals) = step.gradients(state, x, batch[1], key)
    record = {"step": 10, "epoch": 2, "tensor": "loss", "value": "nan", "steps_per_epoch": 9}
    passages = dissect(Failure(experiment, state, batch, record)).passages
    (loss,) = (p.largest for p in passages if p.what == "loss")
    assert loss == pytest.approx(float(totals.loss) / len(x), rel=1e-6)


def test_a_failure_keeps_how_long_its_epochs_are(tiny, tmp_path, poisoned):
    stopped(tiny(), tmp_path / "run")
    assert load_failure(tmp_path / "run").record["steps_per_epoch"] == 9


def test_what_is_taken_apart_multiplies_as_training_does(tiny, monkeypatch):
    seen = set()
    dense = ops.dense

    def watched(*arguments):
        seen.add(jax.config.jax_default_matmul_precision)
        return dense(*arguments)

    monkeypatch.setattr(ops, "dense", watched)
    experiment = tiny({"training.matmul_precision": "bfloat16"})
    record = {"step": 1, "epoch": 1, "tensor": "loss", "value": "nan"}
    dissect(Failure(experiment, Step(experiment).init(), _batch(experiment), record))
    assert seen == {"bfloat16"}


def _batch(experiment):
    train = experiment.data.load().train
    return jnp.asarray(train.x[:32]), jnp.asarray(train.y[:32])


def test_a_skipped_step_changes_nothing_and_is_counted(tiny, tmp_path, poisoned, caplog):
    experiment = tiny({"training.on_nonfinite": "skip", "training.epochs": 2})
    train(experiment, tmp_path / "run")
    rows = [row for row in Run(tmp_path / "run").metrics() if row["split"] == "train"]
    assert sum(row["skipped"] for row in rows) >= 1
    assert all(np.isfinite(row["loss"]) for row in rows)
    assert "were skipped" in caplog.text
    state = load_trained(tmp_path / "run").state
    assert int(state.step) == 18
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_a_run_that_skips_every_step_stops(tiny, tmp_path, monkeypatch):
    load = Digits.load

    def loaded(self: Digits):
        data = load(self)
        return type(data)(
            Split(np.full_like(data.train.x, np.nan), data.train.y), data.test, data.classes
        )

    monkeypatch.setattr(Digits, "load", loaded)
    error = stopped(tiny({"training.on_nonfinite": "skip"}), tmp_path / "run")
    assert error.tensor == "loss"


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_measured_loss_that_is_not_finite_stops_the_run(tiny, tmp_path, monkeypatch, split):
    load = Digits.load

    def loaded(self: Digits):
        data = load(self)
        measured = getattr(data, split)
        wrong = Split(np.full_like(measured.x, np.nan), measured.y)
        return replace(data, **{split: wrong})

    monkeypatch.setattr(Digits, "load", loaded)
    error = stopped(tiny({"training.epochs": 1, "data.validation": 20}), tmp_path / "run")
    assert re.match(rf"after step \d+ \(epoch 1\): the {split} loss is nan", str(error))
    assert "NaN" not in Run.open(tmp_path / "run").metrics_file.read_text()


def test_a_run_that_was_stopped_goes_on_with_skipping(tiny, tmp_path, poisoned):
    stopped(tiny(), tmp_path / "run")
    skipping = {"training.on_nonfinite": "skip", "training.epochs": 1}
    train(tiny(skipping), tmp_path / "run", resume=True)
    train(tiny(skipping), tmp_path / "whole")
    one, two = (load_trained(tmp_path / name).state for name in ("run", "whole"))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_run_without_a_failure_says_so(whole):
    with pytest.raises(UserError, match="no step has stopped it"):
        load_failure(whole)


def test_what_to_do_about_it_is_one_of_two_words(tmp_path, tiny):
    with pytest.raises(UserError, match=r"training\.on_nonfinite.*'stop' or 'skip'"):
        tiny({"training.on_nonfinite": "ignore"})
    assert load_experiment(tmp_path / "tiny.toml").training.on_nonfinite == "stop"
