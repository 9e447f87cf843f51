"""A share of scripts/torture with every run of the tests; the whole is a command for a machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from jcnn.config import load_experiment
from jcnn.training import train
from tests.torture import network
from tests.torture.alterations import Altered, altered, names_a_key
from tests.torture.commands import CONFIG, command_lines, prepare
from tests.torture.damages import KINDS, Judge, bits
from tests.torture.experiments import written_together
from tests.torture.running import judge_command, judge_config

# They start processes, train or compile much.
pytestmark = pytest.mark.slow

SHARE = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("torture")


def test_an_altered_config_is_right_or_one_sentence_that_names_the_key(folder):
    @settings(SHARE, max_examples=60)
    @given(altered())
    def judged(case: Altered) -> None:
        wrong = judge_config(case, folder)
        assert wrong is None, f"{case.keys}: {wrong}"

    judged()


def test_an_altered_command_line_ends_with_0_or_2_and_a_word(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JCNN_CACHE", "")

    @settings(SHARE, max_examples=30)
    @given(command_lines(prepare(tmp_path)).filter(lambda words: words[:1] != ["train"]))
    def judged(words: list[str]) -> None:
        wrong = judge_command(words)
        assert wrong is None, f"{words}: {wrong}"

    judged()


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """A finished run with several checkpoints."""
    (folder / "tiny.toml").write_text(CONFIG)
    often = {"training.epochs": 6, "training.checkpoint_every_seconds": 0}
    train(load_experiment(folder / "tiny.toml", often), folder / "run")
    return folder / "run"


def test_of_damaged_checkpoints_an_undamaged_one_is_taken_or_a_sentence_said(run, folder):
    judge = Judge(run, folder)
    for _ in range(30):
        wrong = judge.wrong()
        assert wrong is None, wrong
    assert set(KINDS) <= set(judge.met)
    assert judge.met["one sentence"]
    assert judge.met["an undamaged one taken"]
    wrong = judge.wrong_after_resumption(bits(run)[1])
    assert wrong is None, wrong


def test_a_wrong_state_would_be_noticed(run, folder, monkeypatch):
    from tests.torture import damages

    judge = Judge(run, folder)
    monkeypatch.setattr(damages, "bits", lambda run: (12, [b"other"]))
    assert "a wrong state was taken" in str(judge.wrong())


def test_a_sentence_about_something_else_would_be_noticed():
    case = Altered("a.toml", "", (("training", "epochs"),))
    assert names_a_key("a.toml: training.epochs: expected an integer", case)
    assert not names_a_key("a.toml: it is wrong", case)


def test_a_traceback_would_be_noticed(monkeypatch):
    from tests.torture import running

    def broken(arguments):
        raise KeyError("epochs")

    monkeypatch.setattr(running, "main", broken)
    assert "KeyError" in str(judge_command(["train"]))


@pytest.mark.thorough
def test_where_the_network_fails_both_processes_say_so_and_end(tmp_path: Path) -> None:
    if lacks := network.missing():
        pytest.skip(f"needs {lacks}")
    config = written_together(tmp_path, epochs=4000)
    where = [str(config), "--out", str(tmp_path / "run")]
    seconds, wrong = network.cut_once(where, tmp_path, after=1)
    assert (len(seconds), wrong) == (2, [])
