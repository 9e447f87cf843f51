"""Training leaves a whole run, and the same bits whichever way it went there."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jcnn import ops
from jcnn.config import load_experiment
from jcnn.errors import UserError
from jcnn.layers import Context
from jcnn.runs import Run
from jcnn.training import Interrupted, Step, Totals, evaluate, load_trained, prepare, train
from jcnn.training import loop as loop_module
from jcnn.training.calibration import calibrated
from jcnn.training.predicting import make_predict
from tests.selection import slow_unless
from tests.training.interference import At, crash, interrupt

# What the clock says is no part of the result.
CLOCKS = ("seconds", "compile_seconds", "sessions")


def bits(folder: Path) -> list[bytes]:
    state = load_trained(folder).state
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]


def rows(folder: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in CLOCKS} for row in Run(folder).metrics()]


def test_a_run_holds_what_the_contract_names(tiny, tmp_path):
    summary = train(tiny({"training.epochs": 2}), tmp_path / "run")
    written = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert written == summary
    assert summary["steps"] == 2 * (300 // 32)
    assert summary["parameters"] == 64 * 10 + 10
    assert summary["test"]["accuracy"] > 0.5
    assert 0 < summary["compile_seconds"] < summary["seconds"]
    assert Run(tmp_path / "run").experiment() == tiny({"training.epochs": 2})
    assert [(row["epoch"], row["split"]) for row in rows(tmp_path / "run")] == [
        (1, "train"),
        (1, "test"),
        (2, "train"),
        (2, "test"),
    ]
    assert list((tmp_path / "run" / "events").iterdir())


def test_evaluation_repeats_the_summary(whole):
    summary = json.loads((whole / "summary.json").read_text())
    measured = evaluate(whole)
    assert {name: measured[name] for name in summary["test"]} == summary["test"]


def test_evaluates_every_few_epochs_and_at_the_end(tiny, tmp_path):
    experiment = tiny({"training.epochs": 3, "training.evaluate_every_epochs": 2})
    train(experiment, tmp_path / "run")
    assert [row["epoch"] for row in rows(tmp_path / "run")] == [2, 2, 3, 3]


def test_same_seed_same_bits_and_another_seed_others(lively, whole, tmp_path):
    train(lively(), tmp_path / "again")
    train(lively({"seed": 1}), tmp_path / "other")
    assert bits(tmp_path / "again") == bits(whole)
    assert bits(tmp_path / "other") != bits(whole)


@pytest.mark.parametrize("steps", [1, 4, 1000])
def test_steps_per_dispatch_change_no_bit(lively, whole, tmp_path, steps):
    train(lively({"training.steps_per_dispatch": steps}), tmp_path / "run")
    assert bits(tmp_path / "run") == bits(whole)
    assert rows(tmp_path / "run") == rows(whole)


@pytest.mark.parametrize("step", slow_unless((14).__eq__, [1, 9, 14, 27]))
def test_interrupted_and_resumed_gives_the_same_bits(lively, whole, tmp_path, step):
    one_by_one = lively({"training.steps_per_dispatch": 1})
    with pytest.raises(Interrupted) as stopped:
        train(one_by_one, tmp_path / "run", progress=At(step, interrupt))
    assert step <= stopped.value.step <= step + 2
    assert stopped.value.signal_number == signal.SIGINT
    assert not (tmp_path / "run" / "summary.json").exists()
    summary = train(lively(), tmp_path / "run", resume=True)
    assert summary["sessions"] == 2
    assert bits(tmp_path / "run") == bits(whole)
    assert rows(tmp_path / "run") == rows(whole)


def test_killed_and_resumed_gives_the_same_bits(lively, whole, tmp_path):
    with pytest.raises(RuntimeError, match="power cut"):
        train(
            lively({"training.checkpoint_every_seconds": 0}),
            tmp_path / "run",
            progress=At(20, crash),
        )
    with Run(tmp_path / "run").metrics_file.open("a") as stream:
        stream.write('{"step": 99, "split": "test"}\n{"step": 1')  # after the checkpoint; cut short
    train(lively(), tmp_path / "run", resume=True)
    assert bits(tmp_path / "run") == bits(whole)
    assert rows(tmp_path / "run") == rows(whole)


def test_killed_before_any_checkpoint_starts_again(tiny, tmp_path):
    with pytest.raises(RuntimeError, match="power cut"):
        train(tiny(), tmp_path / "run", progress=At(1, crash))
    train(tiny(), tmp_path / "whole")
    train(tiny(), tmp_path / "run", resume=True)
    assert bits(tmp_path / "run") == bits(tmp_path / "whole")


def test_a_finished_run_can_be_given_more_epochs(tiny, tmp_path):
    train(tiny({"training.epochs": 1}), tmp_path / "run")
    train(tiny({"training.epochs": 2}), tmp_path / "run", resume=True)
    train(tiny({"training.epochs": 2}), tmp_path / "whole")
    assert bits(tmp_path / "run") == bits(tmp_path / "whole")


def test_resuming_a_finished_run_changes_nothing(tiny, tmp_path):
    before = train(tiny({"training.epochs": 1}), tmp_path / "run")
    after = train(tiny({"training.epochs": 1}), tmp_path / "run", resume=True)
    assert after["test"] == before["test"]
    assert after["steps"] == before["steps"]


def test_refuses_to_resume_with_another_experiment(tiny, tmp_path):
    train(tiny({"training.epochs": 1}), tmp_path / "run")
    with pytest.raises(UserError, match=r"optimizer\.learning_rate"):
        train(tiny({"optimizer.learning_rate": 0.2}), tmp_path / "run", resume=True)


def test_refuses_a_folder_that_holds_a_run(tiny, tmp_path):
    train(tiny({"training.epochs": 1}), tmp_path / "run")
    with pytest.raises(UserError, match="already holds a run"):
        train(tiny(), tmp_path / "run")


def test_refuses_a_batch_larger_than_the_data(tiny, tmp_path):
    with pytest.raises(UserError, match=r"training\.batch_size is 301.* only 300"):
        train(tiny({"training.batch_size": 301}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_keeps_float32_parameters(lively, tmp_path, precision):
    summary = train(
        lively({"training.precision": precision, "training.epochs": 2}), tmp_path / "run"
    )
    state = load_trained(tmp_path / "run").state
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {np.dtype("float32")}
    assert summary["test"]["accuracy"] > 0.2


def test_folders_are_named_by_strings_too(tiny, tmp_path):
    out = str(tmp_path / "run")
    summary = train(tiny({"training.epochs": 1}), out)
    assert evaluate(out)["loss"] == summary["test"]["loss"]


def test_evaluation_goes_with_the_averaged_parameters_and_statistics(lively):
    experiment = lively()
    state = Step(experiment).init()
    state = state._replace(
        params=jax.tree.map(jax.numpy.zeros_like, state.params),
        state=jax.tree.map(jax.numpy.zeros_like, state.state),
    )
    x = experiment.data.load().test.x[:4]
    expected, _ = experiment.model.apply(*state.average[:2], x)
    np.testing.assert_array_equal(make_predict(experiment)(state, x), expected)


def test_a_sum_of_many_small_losses_does_not_stand_still():
    start = Totals.of(
        *(jax.numpy.asarray(a) for a in (np.float32(2**24), np.int32(0))), np.int32(1)
    )
    one = Totals.of(jax.numpy.float32(1), jax.numpy.int32(0), jax.numpy.int32(0))
    added = jax.jit(lambda s: jax.lax.fori_loop(0, 1001, lambda _, s: s.plus(one), s))(
        jax.tree.map(jax.numpy.asarray, start)
    )
    assert np.float32(2**24) + np.float32(1) == 2**24
    assert added.means()["loss"] == 2**24 + 1001


def test_calibration_goes_through_the_operations_that_training_does(tiny, monkeypatch):
    layers = [{"type": "relu"}, {"type": "patch_whitening"}, {"type": "flatten"}]
    experiment = tiny({"layers": [*layers, {"type": "dense", "features": 10}]})
    called = []

    class Namespace:
        def __getattr__(self, name):
            called.append(name)
            return getattr(ops, name)

    feed, _ = prepare(experiment, Namespace())
    calibrated(experiment, feed)
    assert "relu" in called


def test_a_weight_file_is_read_once(tiny, tmp_path, monkeypatch):
    reads = []
    monkeypatch.setattr(
        loop_module,
        "initial_weights",
        lambda e: reads.append(e) or e.model.init(jax.random.key(0), e.input_shape),
    )
    train(tiny({"training.epochs": 1}), tmp_path / "run")
    assert len(reads) == 1


def test_whitening_is_set_from_the_training_examples_and_not_learned(tiny, tmp_path):
    layers = [
        {"type": "patch_whitening", "window": 2},
        {"type": "global_average_pool"},
        {"type": "dense", "features": 10},
    ]
    experiment = tiny({"layers": layers, "training.epochs": 2})
    train(experiment, tmp_path / "run")
    layer, x = experiment.layers[0], experiment.data.load().train.x
    params, state = layer.init(jax.random.key(0), x.shape[1:])
    expected = layer.calibrate(params, state, x, Context(ops))["w"]
    learned = load_trained(tmp_path / "run").state.state["patch_whitening_1"]["w"]
    np.testing.assert_array_equal(learned, expected)


def test_mirrored_evaluation_takes_the_mean_of_both_images(tiny):
    plain, mirrored = tiny(), tiny({"training.mirrored_evaluation": True})
    state, x = Step(plain).init(), plain.data.load().test.x[:8]
    predict = jax.jit(make_predict(plain))
    both = [predict(state, images) for images in (x, x[:, :, ::-1])]
    got = jax.jit(make_predict(mirrored))(state, x)
    np.testing.assert_allclose(got, sum(both) / 2, rtol=1e-6)
    assert not np.allclose(*both)


def test_shifted_evaluation_takes_the_mean_over_moved_images(tiny):
    seen = {"training.mirrored_evaluation": True, "training.shifted_evaluation": 1}
    plain, shifted = tiny(), tiny(seen)
    state, x = Step(plain).init(), plain.data.load().test.x[:8]
    around = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    moved = [around[:, i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
    predict = jax.jit(make_predict(plain))
    expected = [predict(state, m[:, :, ::s]) for m in moved for s in (1, -1)]
    got = jax.jit(make_predict(shifted))(state, x)
    np.testing.assert_allclose(got, sum(expected) / 18, rtol=1e-5)
    assert not np.allclose(got, expected[0])


def test_an_evaluation_of_images_moved_out_of_sight_is_refused(tiny):
    with pytest.raises(
        UserError, match=r"shifted_evaluation: .* 8x8, expected less than 8, found 8"
    ):
        tiny({"training.shifted_evaluation": 8})


@pytest.mark.parametrize("key", ["mirrored_evaluation = true", "shifted_evaluation = 1"])
def test_an_evaluation_of_views_of_what_is_no_image_is_refused(key, tmp_path):
    signals = f"""
        data = {{name = "fsdd"}}
        optimizer = {{name = "sgd", learning_rate = 0.1}}
        training = {{{key}}}
        layers = [{{type = "global_average_pool"}}, {{type = "dense", features = 10}}]
    """
    (tmp_path / "signals.toml").write_text(signals)
    with pytest.raises(UserError, match=rf"{key.split()[0]} needs images .* the data are"):
        load_experiment(tmp_path / "signals.toml")
