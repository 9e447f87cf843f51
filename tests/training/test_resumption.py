"""What --resume continues, what it writes down, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jcnn.errors import UserError
from jcnn.runs import Run
from jcnn.runs.lock import locked
from jcnn.runs.resumption import check_continues
from jcnn.training import Interrupted, evaluate, load_trained, train
from tests.data.formats import write_colours
from tests.training.interference import At, crash, interrupt


def bits(folder: Path) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(load_trained(folder).state)]


def steps(folder: Path) -> list[int]:
    return [row["step"] for row in Run(folder).metrics() if row["split"] == "test"]


@pytest.fixture(scope="module")
def _finished(tmp_path_factory: pytest.TempPathFactory, request) -> Path:
    from jcnn.config import load_experiment
    from tests.training.conftest import TINY

    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.toml").write_text(TINY)
    train(load_experiment(folder / "tiny.toml", {"training.epochs": 2}), folder / "run")
    return folder / "run"


@pytest.fixture
def finished(_finished: Path, tmp_path: Path) -> Path:
    """A finished run of two epochs, eighteen steps."""
    shutil.copytree(_finished, tmp_path / "run")
    return tmp_path / "run"


def test_an_extension_is_written_down_before_it_is_trained(tiny, finished, tmp_path):
    four = tiny({"training.epochs": 4, "training.steps_per_dispatch": 1})
    with pytest.raises(Interrupted):
        train(four, finished, resume=True, progress=At(24, interrupt))
    run = Run(finished)
    assert run.experiment().training.epochs == 4
    assert not run.summary_file.exists()
    (row,) = map(json.loads, run.history_file.read_text().splitlines())
    assert row["from"] == "18"
    assert row["changes"]["training.epochs"] == [2, 4]
    summary = train(run.experiment(), finished, resume=True)
    assert (summary["epochs"], summary["steps"]) == (4, 36)
    train(tiny(), tmp_path / "whole")
    assert bits(finished) == bits(tmp_path / "whole")
    assert steps(finished) == [9, 18, 27, 36]


def test_a_resumed_run_may_measure_more(tiny, finished):
    keys = {"training.epochs": 3, "training.metrics": ["f1", "top_5"]}
    summary = train(tiny(keys), finished, resume=True)
    assert {"loss", "accuracy", "f1", "top_5"} == summary["test"].keys()
    (row,) = map(json.loads, Run(finished).history_file.read_text().splitlines())
    assert row["changes"]["training.metrics"] == [[], ["f1", "top_5"]]


def test_a_run_can_be_shortened_to_where_it_stands_and_no_further(tiny, tmp_path):
    with pytest.raises(Interrupted):
        train(
            tiny({"training.steps_per_dispatch": 1}), tmp_path / "run", progress=At(12, interrupt)
        )
    with pytest.raises(UserError, match=r"training\.epochs = 1 ends at step 9.* at least 2"):
        train(tiny({"training.epochs": 1}), tmp_path / "run", resume=True)
    assert train(tiny({"training.epochs": 2}), tmp_path / "run", resume=True)["steps"] == 18
    assert Run(tmp_path / "run").experiment().training.epochs == 2


def test_lost_metrics_come_back_from_the_checkpoint(tiny, finished):
    before = Run(finished).metrics()
    Run(finished).metrics_file.unlink()
    train(tiny({"training.epochs": 2}), finished, resume=True)
    assert Run(finished).metrics() == before


def test_a_lost_summary_comes_back(tiny, finished):
    before = Run(finished).summary()
    Run(finished).summary_file.unlink()
    assert train(tiny({"training.epochs": 2}), finished, resume=True)["test"] == before["test"]


def test_an_evaluation_that_was_killed_is_done_again(tiny, tmp_path, monkeypatch):
    from jcnn.training.evaluation import DeviceEvaluation

    with monkeypatch.context() as patch:
        patch.setattr(DeviceEvaluation, "__call__", lambda *_: crash())
        with pytest.raises(RuntimeError, match="power cut"):
            train(tiny({"training.epochs": 1}), tmp_path / "run")
    assert [path.name for path in Run(tmp_path / "run").checkpoints_folder.iterdir()] == ["9"]
    train(tiny({"training.epochs": 1}), tmp_path / "run", resume=True)
    assert steps(tmp_path / "run") == [9]


def test_a_new_run_never_continues_what_it_finds(tiny, finished):
    Run(finished).experiment_file.unlink()
    with pytest.raises(UserError, match=r"no experiment\.toml, but holds checkpoints"):
        train(tiny({"seed": 7}), finished)
    with pytest.raises(UserError, match=r"no experiment\.toml"):
        train(tiny(), finished, resume=True)


def test_a_folder_in_use_says_how_to_go_on(tiny, finished):
    with pytest.raises(UserError, match=r"which has ended; .*--resume --set"):
        train(tiny({"training.epochs": 2}), finished)
    Run(finished).summary_file.unlink()
    with pytest.raises(UserError, match=r"has not ended; continue it with: jcnn train .* --resume"):
        train(tiny({"training.epochs": 2}), finished)
    with pytest.raises(UserError, match=r"another experiment \(seed differs\)"):
        train(tiny({"seed": 7}), finished)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            {"training.early_stopping": {"patience": 3}},
            "started without training.early_stopping, not with {metric = 'loss', patience = 3, ",
        ),
        (
            {"optimizer.learning_rate": {"schedule": "constant_schedule", "value": 0.1}},
            "started with optimizer.learning_rate = 0.1, not with {schedule = 'constant_schedule'",
        ),
        (
            {"optimizer": {"name": "sgd", "learning_rate": 0.1}},
            "started with optimizer.momentum = 0.9, and is resumed without it; ",
        ),
        ({"layers.1.bias": False}, "started with layers.1.bias = True, not with False; "),
    ],
)
def test_what_differs_is_named_as_the_file_writes_it(tiny, finished, overrides, words):
    with pytest.raises(UserError, match=re.escape(f"'{finished}' was {words}")):
        check_continues(Run(finished), tiny({"training.epochs": 2, **overrides}))
    table = {"training.epochs": 2, "training.early_stopping": {"patience": 3}}
    with pytest.raises(UserError, match=r"another experiment \(training\.early_stopping differs\)"):
        train(tiny(table), finished)


def test_what_is_measured_beside_may_change(tiny, finished):
    changed = tiny({"training.epochs": 2, "training.metrics": ["f1"]})
    assert check_continues(Run(finished), changed) == {"training.metrics": ([], ["f1"])}


PHOTOGRAPHS = """
[data]
name = "image_folder"
folder = "photographs"
classes = 2
test_share = 0.25
image_size = 8
resize = 10
worker_count = 0
[optimizer]
name = "sgd"
learning_rate = 0.1
[training]
epochs = 1
batch_size = 3
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
features = 2
"""


@pytest.fixture
def stopped(tmp_path):
    """An experiment whose run in the folder ``run`` met a broken image before it kept a step."""
    from jcnn.config import load_experiment

    broken = write_colours(tmp_path / "photographs", {"cat": 4, "dog": 4}) / "cat" / "001.jpg"
    broken.write_bytes(broken.read_bytes()[:50])
    (tmp_path / "own.toml").write_text(PHOTOGRAPHS)
    experiment = load_experiment(tmp_path / "own.toml")
    with pytest.raises(UserError, match=r"001\.jpg is a broken image"):
        train(experiment, tmp_path / "run")
    assert not Run(tmp_path / "run").has_learned()
    return experiment


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_that_kept_no_step_takes_the_data_as_they_are_now(stopped, tmp_path, resume):
    (tmp_path / "photographs" / "cat" / "001.jpg").unlink()
    assert train(stopped, tmp_path / "run", resume=resume)["steps"] == 1
    counts = json.loads(Run(tmp_path / "run").data_file.read_text())["counts"]
    assert sum(counts["train"].values()) + sum(counts["test"].values()) == 7
    (tmp_path / "photographs" / "cat" / "002.jpg").unlink()
    with pytest.raises(UserError, match="the data are not those that run"):
        train(stopped, tmp_path / "run", resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_that_kept_no_step_may_become_one_of_another_experiment(stopped, tmp_path, resume):
    data = stopped.data.model_copy(update={"on_unreadable": "skip"})
    skipping = stopped.model_copy(update={"data": data})
    assert train(skipping, tmp_path / "run", resume=resume)["steps"] == 1
    assert Run(tmp_path / "run").experiment().data.on_unreadable == "skip"
    with pytest.raises(UserError, match=r"data\.on_unreadable"):
        train(stopped, tmp_path / "run", resume=True)


def test_a_step_that_failed_is_not_begun_anew(stopped, tmp_path):
    Run(tmp_path / "run").failure_folder.mkdir()
    with pytest.raises(UserError, match="has not ended; continue it with"):
        train(stopped, tmp_path / "run")


def test_a_damaged_checkpoint_costs_what_came_after_another(tiny, finished, tmp_path, caplog):
    newest = max(Run(finished).checkpoints_folder.iterdir(), key=lambda p: len(p.name))
    assert newest.name == "18-evaluated"
    (newest / "record.json").write_bytes(b"damaged")
    assert evaluate(finished)["step"] in (9, 18)
    train(tiny(), finished, resume=True)
    train(tiny(), tmp_path / "whole")
    assert bits(finished) == bits(tmp_path / "whole")
    assert steps(finished) == [9, 18, 27, 36]
    assert caplog.text.count("left alone") == 1
    assert caplog.text.count("set aside as damaged-18-evaluated-1") == 1


def test_a_run_that_has_ended_is_not_begun_anew_where_its_checkpoints_are_lost(tiny, finished):
    run = Run(finished)
    shutil.rmtree(run.checkpoints_folder)
    kept = {file: file.read_bytes() for file in (run.summary_file, run.metrics_file)}
    with pytest.raises(UserError, match=r"has ended, and no undamaged checkpoint is left"):
        train(tiny({"training.epochs": 2}), finished, resume=True)
    assert kept == {file: file.read_bytes() for file in kept}


def test_two_trainings_of_one_folder_are_one_too_many(tiny, finished):
    with (
        locked(Run(finished)),
        pytest.raises(UserError, match="is being trained by another process"),
    ):
        train(tiny(), finished, resume=True)


def test_a_dead_process_holds_no_lock(finished):
    program = (
        "import os, signal, sys; from pathlib import Path; from jcnn.runs import Run\n"
        "from jcnn.runs.lock import locked\n"
        "with locked(Run(Path(sys.argv[1]))): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, str(finished)])
    with locked(Run(finished)):
        pass


def test_the_best_is_kept_beside_the_newest(tiny, tmp_path):
    experiment = tiny({"training.keep_best": True, "optimizer.learning_rate": 3.0})
    train(experiment, tmp_path / "run")
    rows = [row for row in Run(tmp_path / "run").metrics() if row["split"] == "test"]
    best = max(rows, key=lambda row: (row["accuracy"], -row["loss"]))
    measured = evaluate(tmp_path / "run", best=True)
    assert measured["step"] == best["step"]
    assert measured["loss"] == best["loss"]


def test_the_best_is_kept_where_early_stopping_keeps_none(tiny, tmp_path):
    rule = {"patience": 2, "min_delta": 100.0, "restore_best": False}
    keys = {"training.early_stopping": rule, "optimizer.learning_rate": 3.0}
    train(tiny({**keys, "training.keep_best": True}), tmp_path / "run")
    rows = [row for row in Run(tmp_path / "run").metrics() if row["split"] == "test"]
    best = max(rows, key=lambda row: (row["accuracy"], -row["loss"]))
    assert evaluate(tmp_path / "run", best=True)["step"] == best["step"]
    assert load_trained(tmp_path / "run").step == rows[-1]["step"]


def test_without_keep_best_there_is_none(finished):
    with pytest.raises(UserError, match=r"training\.keep_best"):
        evaluate(finished, best=True)


def events(folder: Path) -> list[tuple[int, bool]]:
    """The step of each event, and whether it voids what came before from that step on."""
    import struct

    from tensorboardX.proto import event_pb2

    found = []
    for file in sorted(Run(folder).events_folder.iterdir(), key=lambda path: path.stat().st_mtime):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = event_pb2.Event.FromString(data[at + 12 : at + 12 + length])
            at += 16 + length
            found.append((event.step, event.HasField("session_log")))
    return found


def test_tensorboard_keeps_the_evaluation_that_a_run_is_resumed_after(tiny, finished):
    assert (0, True) in events(finished)
    train(tiny({"training.epochs": 3}), finished, resume=True)
    assert (19, True) in events(finished)
    assert (18, True) not in events(finished)
