"""Runs beside each other; the runs are written, not trained."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from jcnn.cli import main
from jcnn.config import load_experiment
from jcnn.errors import UserError
from jcnn.report import compare, comparison_page
from jcnn.report.comparison_views import labels
from jcnn.runs import Run
from jcnn.runs.statistics import share_interval
from tests.report.test_page import Outline, look
from tests.small import CONFIG

pytestmark = pytest.mark.usefixtures("mathematics")


@pytest.fixture
def written(tmp_path):
    """Write a run of a seed, a rate and an accuracy."""
    config = tmp_path / "small.toml"
    config.write_text(CONFIG)

    def write(name: str, accuracy: float, *, ended: bool = True, **overrides: object) -> Path:
        keys = {key.replace("__", "."): value for key, value in overrides.items()}
        run = Run(tmp_path / name)
        run.create(load_experiment(config, keys))
        row = {"step": 3, "epoch": 1, "loss": 1 - accuracy, "accuracy": accuracy, "seconds": 2.0}
        run.append_metrics([{**row, "split": split} for split in ("train", "test")])
        if ended:
            run.write_summary({"test": row, "train": row, "seconds": 2.0})
        return run.folder

    return write


@pytest.fixture
def seeds(written):
    """Three seeds each of two rates, far apart."""
    return [
        written(f"{rate}-{seed}", mean + 0.005 * seed, seed=seed, optimizer__learning_rate=rate)
        for rate, mean in ((0.1, 0.90), (0.2, 0.95))
        for seed in range(3)
    ]


def test_what_differs_is_named_with_each_value(written):
    found = compare([written("a", 0.9), written("b", 0.8, seed=4, training__epochs=7)])
    assert found.keys == {"seed": [0, 4], "training.epochs": [2, 7]}
    assert [run.accuracy for run in found.runs] == [0.9, 0.8]
    low, high = found.runs[0].interval
    assert low < 0.9 < high
    assert not found.differences


def test_seeds_of_one_experiment_share_a_letter_and_a_verdict(seeds):
    found = compare(seeds)
    assert [run.group for run in found.runs] == ["A"] * 3 + ["B"] * 3
    assert found.groups["A"].mean == pytest.approx(0.905)
    (difference,) = found.differences
    assert difference.accuracy == pytest.approx(0.05)
    assert difference.beyond_chance
    assert difference.chance < 0.01


def test_a_seed_that_was_trained_again_counts_once(written, tmp_path, capsys):
    """Whatever letters and order; only runs that ended count, and the first of each seed."""
    runs = [
        written(f"{rate}-{k}", accuracy, seed=seed, optimizer__learning_rate=rate)
        for rate, own in ((0.1, ((0, 0.90), (0, 0.90), (0, 0.91))), (0.2, ((3, 0.95), (4, 0.96))))
        for k, (seed, accuracy) in enumerate(own)
    ]
    going = written("going", 0.5, ended=False, seed=3, optimizer__learning_rate=0.2)
    found = compare([*runs, going])
    assert {letter: group.count for letter, group in found.groups.items()} == {"A": 1, "B": 2}
    assert found.groups["A"].mean == 0.90
    assert found.differences == []
    assert main(["compare", *map(str, runs)]) == 0
    comparison_page(found, tmp_path / "page.html")
    for text in (capsys.readouterr().out, (tmp_path / "page.html").read_text()):
        assert "1, 2 and 3 have the same seed and count once" in text
        assert "A: only one seed with an ended run, so nothing is said about chance" in text
        assert "A: 3 seeds" not in text
        assert "4 and" not in text
    assert main(["compare", *map(str, runs[:2])]) == 0
    out = capsys.readouterr().out
    assert "1 and 2 have the same seed and count once" in out
    assert "2 seeds" not in out


def test_no_interval_goes_beyond_every_example(written):
    found = compare([written("a", 1.0), written("b", 0.99, seed=1)])
    assert found.groups["A"].low < 0.99
    assert found.groups["A"].high == 1.0


def test_a_difference_within_the_spread_is_chance(written):
    runs = [
        written(f"{rate}-{seed}", accuracy, seed=seed, optimizer__learning_rate=rate)
        for rate, accuracies in ((0.1, (0.88, 0.92)), (0.2, (0.89, 0.92)))
        for seed, accuracy in enumerate(accuracies)
    ]
    (difference,) = compare(runs).differences
    assert not difference.beyond_chance


@pytest.fixture
def agreeing(written):
    """Two seeds each of two rates that happen to agree."""
    return [
        written(f"{rate}-{seed}", accuracy, seed=seed, optimizer__learning_rate=rate)
        for rate, accuracy in ((0.1, 1.0), (0.2, 0.9972))
        for seed in range(2)
    ]


def test_seeds_that_agree_say_nothing_about_chance(agreeing, tmp_path, capsys):
    found = compare(agreeing)
    (difference,) = found.differences
    assert difference.chance is None
    assert not difference.beyond_chance
    comparison_page(found, tmp_path / "page.html")
    assert main(["compare", *map(str, agreeing)]) == 0
    for text in (capsys.readouterr().out, (tmp_path / "page.html").read_text()):
        assert "no spread to compare it with" in text
        assert "larger than chance" not in text
    assert main(["compare", *map(str, agreeing), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["differences"]
    assert row["chance"] is None
    assert row["beyond_chance"] is False


def test_pairs_without_a_spread_correct_no_other(agreeing, written):
    spread = [
        written(f"spread-{seed}", 0.90 + 0.001 * seed, seed=seed, optimizer__learning_rate=0.3)
        for seed in range(2)
    ]
    chances = {d.groups: d.chance for d in compare([*agreeing, *spread]).differences}
    assert chances[("A", "B")] is None
    alone = [compare([*agreeing[k : k + 2], *spread]).differences[0].chance for k in (0, 2)]
    assert chances[("A", "C")] == pytest.approx(2 * min(alone))


def test_a_run_that_has_not_ended_shows_its_last_evaluation(written):
    found = compare([written("a", 0.9), written("b", 0.7, ended=False)])
    assert not found.runs[1].ended
    assert found.runs[1].accuracy == 0.7
    assert "B" not in found.groups


def test_the_interval_is_of_the_examples_that_were_evaluated(written):
    whole, part = written("a", 0.9), written("b", 0.9, ended=False)
    row = {"step": 4, "epoch": 1, "split": "test", "loss": 0.1, "accuracy": 0.9}
    Run(part).append_metrics([{**row, "examples": 10, "of": 100}])
    of_whole, of_part = (run.interval for run in compare([whole, part]).runs)
    assert of_part == share_interval(9, 10)
    assert of_whole[1] - of_whole[0] < of_part[1] - of_part[0]


def test_what_validation_says_is_shown_where_a_run_has_it(written, tmp_path, capsys):
    plain = written("plain", 0.8)
    judged = {"ended": written("ended", 0.9), "going": written("going", 0.7, ended=False)}
    for name, accuracy in (("ended", 0.85), ("going", 0.65)):
        row = {"step": 3, "epoch": 1, "split": "validation", "loss": 0.2, "accuracy": accuracy}
        Run(judged[name]).append_metrics([row])
    summary = Run(judged["ended"]).summary()
    Run(judged["ended"]).write_summary({**summary, "validation": {"accuracy": 0.85}})
    found = compare([plain, *judged.values()])
    assert [run.validation for run in found.runs] == [None, 0.85, 0.65]
    assert main(["compare", *map(str, (plain, *judged.values()))]) == 0
    assert re.search(r"validation\s+", capsys.readouterr().out)
    comparison_page(found, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "85.00\u202f%" in page
    comparison_page(compare([plain, written("other", 0.7)]), tmp_path / "page.html")
    assert "validation accuracy" not in (tmp_path / "page.html").read_text()


def test_missing_data_leave_the_interval_out(written, monkeypatch, tmp_path):
    monkeypatch.setenv("JCNN_DATA", str(tmp_path / "none"))
    found = compare(
        [
            written(name, 0.9, data={"name": "mnist"}, **{"layers__0__window": 5})
            for name in ("a", "b")
        ]
    )
    assert [run.interval for run in found.runs] == [None, None]


def test_the_command_prints_tables_and_json(seeds, capsys):
    runs = [str(run) for run in seeds]
    assert main(["compare", *runs]) == 0
    out = capsys.readouterr().out
    assert "optimizer.learning_rate" in out
    assert "larger than chance" in out
    assert all(run in out for run in runs)  # whole, since this is no terminal
    assert all(out.count(f" {place} {'A' if place <= 3 else 'B'} ") == 2 for place in range(1, 7))
    assert main(["compare", *runs, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["runs"]) == 6
    assert found["differences"][0]["beyond_chance"] is True


def test_a_narrow_terminal_breaks_lines_and_cuts_nothing(written, monkeypatch, capsys):
    runs = [str(written(f"{'long' * 30}-{seed}", 0.9, seed=seed)) for seed in range(2)]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["compare", *runs]) == 0
    out = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out)
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= 100
    assert "long" * 30 not in out
    assert out.count("g") >= 2 * 30


def test_what_a_type_implies_is_left_out_and_long_values_are_cut(written, tmp_path, capsys):
    pool = {"type": "max_pool", "window": 3}
    weights = [1.0, *range(100, 109)]
    runs = [written("a", 0.9), written("b", 0.8, layers__1=pool, loss__class_weights=weights)]
    found = compare(runs)
    assert "layers.1.window" in found.keys  # as JSON has it, which nobody reads across
    assert main(["compare", *map(str, runs)]) == 0
    comparison_page(found, tmp_path / "page.html")
    _, below = capsys.readouterr().out.split("What differs")
    for text in (below, (tmp_path / "page.html").read_text()):
        assert "layers.1.type" in text
        assert "layers.1.window" not in text
    cell = re.search(r"\[1\.0, .*…", below)
    assert cell is not None
    assert len(cell[0]) == 40


def test_runs_that_were_tested_on_other_data_are_told_apart(written, capsys):
    same = written("a", 0.9), written("b", 0.8, data__train_count=100)
    assert main(["compare", *map(str, same)]) == 0
    assert "test examples" not in capsys.readouterr().out
    other = written("c", 0.9, data={"name": "usps"})
    assert main(["compare", str(same[0]), str(other)]) == 0
    out = capsys.readouterr().out
    assert "data.name differs: the figures are not of the same test examples" in out
    assert "data.train_count" not in out


def test_brackets_in_a_path_are_no_markup(written, capsys):
    runs = [str(written(f"a[/b]/{name}", 0.9, seed=k)) for k, name in enumerate(("c", "d[red]"))]
    assert main(["compare", *runs]) == 0
    out = capsys.readouterr().out
    assert all(run in out for run in runs)


def test_of_many_runs_each_has_a_row(seeds, capsys):
    assert main(["compare", *map(str, seeds)]) == 0
    _, below = capsys.readouterr().out.split("What differs")
    assert below.split()[:2] == ["seed", "optimizer.learning_rate"]
    assert "6 B 2 0.2" in " ".join(below.split())


def test_the_part_in_which_paths_differ_is_never_empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert labels([".", "../other"]) == [tmp_path.name, "other"]
    assert labels(["a", "a/b"]) == ["a", "a/b"]


def test_the_page_is_one_file(seeds, tmp_path):
    page = tmp_path / "compare.html"
    comparison_page(compare(seeds), page)
    text = page.read_text()
    outline = Outline(text)
    assert "larger than chance" in text
    assert all(address.startswith(("data:", "#")) for address in outline.addresses)
    assert text.count("<polyline") == 12


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_browser_shows_the_page(browser, seeds, tmp_path, width, scheme):
    page = tmp_path / "compare.html"
    comparison_page(compare(seeds), page)
    look(browser, page, width, scheme).context.close()


def test_wrong_arguments_are_named(written, tmp_path, capsys):
    run = str(written("a", 0.9))
    for arguments, words in (
        ([run], "two runs"),
        ([run, run], "twice"),
        ([run, str(tmp_path / "absent")], "absent"),
    ):
        assert main(["compare", *arguments]) == 2
        assert words in capsys.readouterr().err
    other = written("b", 0.9)
    with pytest.raises(UserError, match="existing folder"):
        comparison_page(compare([run, other]), tmp_path / "no" / "page.html")
