"""The certificate that killed and resumed equals undisturbed compares every bit, and can fail."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from jcnn.cli import main
from jcnn.config import load_experiment
from jcnn.inspection import verification
from jcnn.inspection.verification import compare_rows, compare_states, verify
from jcnn.runs import Run
from jcnn.runs.checkpoints import Checkpoints
from jcnn.runs.place import Place
from jcnn.training import Step, train
from jcnn.training.step import checkpointed
from tests.torture.commands import CONFIG

# They start processes, train or compile much.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verified")
    (folder / "a.toml").write_text(CONFIG)
    train(load_experiment(folder / "a.toml"), folder / "run")
    return folder / "run"


def test_one_changed_bit_of_the_state_is_named(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "other")
    # w, b, and the count of steps
    assert compare_states(trained, tmp_path / "other") == (3, 64 * 10 + 10 + 1, [])
    with Checkpoints(Run(tmp_path / "other").checkpoints_folder) as checkpoints:
        place = checkpoints.newest()
        tree = checkpoints.restore(place, checkpointed(Step(Run(trained).experiment())))
        tree = jax.tree.map(np.array, tree)
        w = tree["state"].params["dense_1"]["w"].view(np.int32)
        w[0, 0] ^= 1
        checkpoints.save(Place(place.step + 1), tree, checkpoints.record(place))
        checkpoints.wait()
    assert compare_states(trained, tmp_path / "other")[2] == ["params.dense_1.w"]


def test_rows_are_compared_but_for_their_seconds(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "other")
    rows = Run(trained).metrics()
    Run(tmp_path / "other").rewrite_metrics([{**row, "seconds": 9.0} for row in rows])
    assert compare_rows(trained, tmp_path / "other") == (2, [])
    Run(tmp_path / "other").rewrite_metrics([rows[0], {**rows[1], "loss": 0.1}])
    assert compare_rows(trained, tmp_path / "other") == (2, ["row 1 of metrics"])
    Run(tmp_path / "other").rewrite_metrics(rows[:1])
    assert compare_rows(trained, tmp_path / "other") == (2, ["row 1 of metrics"])


@pytest.mark.slow
def test_killed_and_resumed_is_certified(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JCNN_CACHE", str(tmp_path / "xla"))
    (tmp_path / "a.toml").write_text(CONFIG)
    more = ["--set", "training.epochs=200", "--kills", "2", "--json"]
    assert main(["verify", str(tmp_path / "a.toml"), *more]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passed"]
    assert (found["steps"], len(found["kills"]), found["rows"]) == (400, 2, 400)


def phases(monkeypatch, *met: str) -> list[str]:
    """Let kills fall into these phases in turn, and into the last for good; returns the rest."""
    left = list(met)

    def kill(config, out, moments, number):
        phase = left.pop(0) if len(left) > 1 else left[0]
        if phase == "ended":
            verification._train_to_the_end(config, out)
        return verification.Kill("SIGKILL", 1.0, phase, 0, 0, 0.0)

    monkeypatch.setattr(verification, "_kill", kill)
    return left


def verified(tmp_path, monkeypatch, capsys) -> tuple[int, str]:
    monkeypatch.setenv("JCNN_CACHE", str(tmp_path / "xla"))
    (tmp_path / "a.toml").write_text(CONFIG)
    code = main(["verify", str(tmp_path / "a.toml"), "--kills", "1"])
    return code, capsys.readouterr().out


def test_kills_go_on_until_one_falls_into_the_training(tmp_path, monkeypatch, capsys):
    phases(monkeypatch, "starting", "ended", "training")
    code, said = verified(tmp_path, monkeypatch, capsys)
    assert code == 0
    assert "with 3 kills, 1 of them while it trained" in said
    assert "every bit is the same" in said


def test_where_no_kill_falls_into_the_training_nothing_is_certified(tmp_path, monkeypatch, capsys):
    phases(monkeypatch, "starting")
    code, said = verified(tmp_path, monkeypatch, capsys)
    assert code == 1
    assert "no kill fell into the training, so nothing is shown" in said
    assert "every bit is the same" not in said


def test_what_an_earlier_kill_left_half_written_is_no_saving(tmp_path, monkeypatch):
    """A process that is killed while it starts has not yet opened its checkpoints."""
    half = Run(tmp_path / "run").checkpoints_folder / ".step-3.partial"
    half.mkdir(parents=True)

    class Process:
        def send_signal(self, number):
            self.number = number

        def wait(self):
            return -self.number

    @contextmanager
    def training(config, out):
        with (out.parent / f"{out.name}.log").open("a") as log:
            log.write(said.pop(0))
        yield Process()

    monkeypatch.setattr(verification, "_training", training)
    moments = SimpleNamespace(wait=lambda process, is_compiled: None)
    kill = partial(verification._kill, tmp_path / "a.toml", tmp_path / "run", moments, 9)
    said = ["a: 3 epochs\n", "compiled in 0.1 s\n", "", "compiled in 0.1 s\n"]
    met = [kill() for _ in said[:3]]
    assert [own.phase for own in met] == ["starting", "saving", "starting"]
    assert [own.shows for own in met] == [False, True, False]
    half.rmdir()
    assert kill().phase == "training"


@pytest.mark.slow
def test_a_training_that_fails_is_a_sentence(tmp_path):
    from jcnn.errors import UserError

    (tmp_path / "a.toml").write_text(CONFIG)
    experiment = load_experiment(tmp_path / "a.toml", {"training.batch_size": 65})
    with pytest.raises(UserError, match=r"exit code 2: .*training\.batch_size is 65"):
        verify(experiment, tmp_path, kills=1)
