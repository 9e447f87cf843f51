"""``jcnn tune``: a table for this machine, whole or not at all."""

import json
from dataclasses import replace
from pathlib import Path
from statistics import geometric_mean

import pytest

from jcnn.benchmark import (
    crossed,
    drawn,
    drawn_pools,
    fitted,
    judged,
    problems_of_cases,
    share_near,
    write_table,
)
from jcnn.cli import main
from jcnn.lowering import Machine, Policy, on_machine
from jcnn.lowering.algorithms import eligible, predicted
from jcnn.lowering.costs import KINDS
from jcnn.lowering.machine import named, read
from jcnn.runs.environment import versions
from tests.small import CONFIG

BLANK = Machine("a machine", 2, 32 << 20, 8, ())


def taken(problems, costs):
    """What a machine of these costs would take for every lowering."""
    policy = Policy(winograd=True, machine=Machine("true", 2, 32 << 20, 8, tuple(costs.items())))
    return {p: {n: predicted(n, p, policy) for n in eligible(p, policy)} for p in problems}


def test_costs_are_found_again_from_what_they_predict():
    costs = dict.fromkeys(KINDS, 0.1) | {"multiplied": 0.01, "convolved": 0.02, "started": 3e3}
    problems = drawn(60, 1) + drawn_pools(15, 1)
    machine = fitted(taken(problems, costs), BLANK)
    others = taken(drawn(40, 2), costs)
    assert share_near(judged(others, machine)) >= 0.9
    found = dict(machine.costs)
    assert found["multiplied"] == pytest.approx(0.01, rel=0.1)
    assert found["convolved"] == pytest.approx(0.02, rel=0.1)


def test_a_table_is_read_as_it_was_written(tmp_path):
    costs = dict.fromkeys(KINDS, 0.1)
    rows = taken(drawn(20, 1), costs)
    machine = fitted(rows, BLANK)
    path = tmp_path / "folder" / "table.json"
    write_table(path, machine, rows, "jcnn tune")
    again = read(path)
    assert (dict(again.costs), again.vector) == (dict(machine.costs), machine.vector)
    assert list(again.measured) == list(rows)
    for problem, seconds in rows.items():
        assert again.measured[problem] == pytest.approx(seconds, rel=1e-3)
    assert json.loads(path.read_text())["versions"] == versions()


def test_what_is_drawn_is_the_same_every_time_and_of_every_kind():
    assert drawn(30, 5) == drawn(30, 5) != drawn(30, 6)
    operations = {problem.operation for problem in drawn(60, 5)}
    assert operations == {"correlate", "input_gradient", "kernel_gradient"}
    assert {p.geometry.rank for p in drawn(60, 5)} == {1, 2}
    assert drawn_pools(9, 5) == drawn_pools(9, 5)


@pytest.mark.slow
def test_the_command_writes_a_table_and_judges_it(tmp_path, capsys, monkeypatch):
    table = tmp_path / "table.json"
    words = ["tune", "--problems", "5", "--out", str(table), "--json"]
    assert main(words) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["table"] == str(table)
    assert said["problems"] == len(read(table).measured) >= 5
    monkeypatch.setenv("JCNN_MACHINE", str(table))
    assert main(["tune", "--check", "--problems", "1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said["rows"]) == 1
    assert said["rows"][0]["ratio"] >= 1


@pytest.mark.slow
def test_a_table_is_measured_again_by_its_problems(tmp_path, capsys):
    table, again = tmp_path / "table.json", tmp_path / "again.json"
    assert main(["tune", "--problems", "2", "--out", str(table)]) == 0
    assert main(["tune", "--like", str(table), "--out", str(again)]) == 0
    assert "2/2 " in capsys.readouterr().err
    assert list(read(again).measured) == list(read(table).measured)
    command = json.loads(again.read_text())["command"]
    assert command == f"jcnn tune --like {table} --out {again}"
    command = json.loads(table.read_text())["command"]
    assert command == f"jcnn tune --problems 2 --out {table}"


def test_a_table_that_is_not_there_is_refused_before_anything_is_measured(capsys):
    assert main(["tune", "--like", "avx3"]) == 2
    found = capsys.readouterr().err
    assert "the machine's table avx3 can't be read" in found
    assert "avx2, avx512, plain, zen5" in found


def test_a_table_without_problems_is_nothing_to_measure_again(capsys):
    assert main(["tune", "--like", "plain"]) == 2
    assert "--like plain: the table holds no problems to measure" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--problems", "--skip"])
def test_problems_are_a_tables_or_drawn(option, capsys):
    assert main(["tune", "--like", "avx2", option, "1"]) == 2
    assert "--like takes a table's problems" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--ops", "configs/mnist.toml", "--like=avx2"])
def test_what_a_check_would_leave_out_is_refused(option, capsys):
    assert main(["tune", "--check", option]) == 2
    assert "--check judges problems of its own" in capsys.readouterr().err


def test_a_table_is_judged_by_its_own_problems_without_them(capsys):
    costs = dict.fromkeys(KINDS, 0.1)
    rows = taken(drawn(12, 1), costs)
    machine = replace(BLANK, costs=tuple(costs.items()), measured=rows, digest="as predicted")
    assert share_near(crossed(machine)) == 1
    odd, row = max(rows.items(), key=lambda item: len(item[1]))
    least, slowest = min(row.values()), max(row, key=lambda name: row[name])
    rows[odd] = row | {slowest: least / 4}
    machine = replace(machine, measured=rows, digest="with one that is not")
    found = {each.problem: each for each in crossed(machine)}
    assert found[odd].ratio == pytest.approx(4)
    assert found[odd].best == slowest
    with on_machine(machine):
        assert main(["tune", "--check", "--left-out", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    ratios = [each.ratio for each in found.values()]
    assert said["share"] == share_near(list(found.values())) < 1
    assert said["mean"] == pytest.approx(geometric_mean(ratios))


@pytest.mark.parametrize(
    ("words", "reason"),
    [(["--left-out"], "expected --check"), (["--check", "--left-out", "--skip", "1"], "draws no")],
)
def test_problems_left_out_are_the_tables_own(words, reason, capsys):
    assert main(["tune", *words]) == 2
    assert reason in capsys.readouterr().err


def test_a_table_without_problems_can_not_be_judged_by_them(capsys):
    with on_machine(BLANK):
        assert main(["tune", "--check", "--left-out"]) == 2
    assert "holds no problems to judge it by" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["avx2", "avx512", "zen5"])
def test_the_benchmark_s_operations_are_in_the_tables_that_are_shipped(name):
    problems = problems_of_cases()
    assert {p.operation for p in problems} > {"correlate", "kernel_gradient", "window_spread"}
    assert [str(p) for p in problems if p not in named(name).measured] == []


def test_a_change_of_no_experiment_is_refused(capsys):
    assert main(["tune", "--set", "training.epochs=2"]) == 2
    assert "expected CONFIG" in capsys.readouterr().err


def test_a_table_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for out in (tmp_path / "file" / "table.json", tmp_path / "folder"):
        assert main(["tune", "--out", str(out), "--problems", "1"]) == 2
        said = capsys.readouterr().err
        assert f"the machine's table {out} can't be written" in said
        assert len(said.splitlines()) == 1  # nothing was measured


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder in which nobody can write")
def test_a_folder_that_may_not_be_written_is_refused_before_anything_is_measured(capsys):
    assert main(["tune", "--out", "/proc/table.json", "--problems", "1"]) == 2
    said = capsys.readouterr().err
    assert "the machine's table /proc/table.json can't be written" in said
    assert len(said.splitlines()) == 1


def test_the_table_keeps_the_command_that_it_is_measured_by(tmp_path, monkeypatch):
    import jcnn.cli.tune as command

    seen = {}
    monkeypatch.setattr(command, "_tune", lambda *given: seen.update(words=given[-2]))
    config, out = tmp_path / "a b.toml", tmp_path / "t.json"
    config.write_text(CONFIG)
    words = ["tune", str(config), "--ops", "--set", "seed=1", "--set", "training.epochs=1"]
    assert main([*words, "--problems", "3", "--skip", "2", "--out", str(out)]) == 0
    assert seen["words"] == (
        f"jcnn tune --ops '{config}' --set seed=1 --set training.epochs=1 --problems 3 --skip 2 "
        f"--out {out}"
    )
