"""Many runs of one experiment: planned, trained side by side, taken as they are, summed up."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import jax
import pytest

import jcnn.sweep.run
import jcnn.training.loop
from jcnn import ops, reference
from jcnn.cli import main
from jcnn.config import load_experiment
from jcnn.errors import UserError
from jcnn.runs import Run
from jcnn.runs.statistics import spread
from jcnn.sweep import Combination, Range, Sweep, drawn, parse_over, run_sweep
from jcnn.sweep.file import planned
from jcnn.sweep.former import members
from jcnn.sweep.plan import combinations, typed
from jcnn.sweep.tables import print_sweep, save_figure
from jcnn.training import load_trained, train
from jcnn.training.sharing import Program, Shared
from tests.optional import optional

# They start processes, train or compile much.
pytestmark = pytest.mark.slow

_, needs_optuna = optional("optuna")
CONFIG = """
[data]
name = "digits"
train_count = 100
[optimizer]
name = "sgd"
learning_rate = 0.1
[training]
epochs = 1
batch_size = 50
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
features = 10
"""
EPOCHS = ["--over", "training.epochs=1,2"]
GRID = [
    each
    for key in ("training.epochs", "training.batch_size", "layers.1.features")
    for each in ("--over", f"{key}={','.join(map(str, range(1, 31)))}")
]
RATES = {"optimizer.learning_rate": [0.1, 0.2]}


@pytest.fixture
def config(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JCNN_CACHE", "")
    path = tmp_path / "tiny.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> Path:
    """The folder of a sweep of two rates and two seeds."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "tiny.toml").write_text(CONFIG)
    run_sweep(folder / "tiny.toml", RATES, seeds=2, out=folder / "out", at_once=2)
    return folder / "out"


def written(folder: Path, accuracy: float = 0.9, **overrides: object) -> dict:
    """Write a finished run of CONFIG without training it."""
    run = Run(folder)
    keys = {key.replace("__", "."): value for key, value in overrides.items()}
    Path("tiny.toml").write_text(CONFIG)
    run.create(load_experiment("tiny.toml", keys))
    split = {"accuracy": accuracy, "loss": 1 - accuracy}
    run.write_summary({"test": split, "train": split, "seconds": 2.0})
    return run.summary()


@pytest.fixture
def untrained(monkeypatch):
    """Members write what a rate of theirs would give, and are counted."""
    seen = []

    def fake(experiment, folder, *, resume=False, progress=None, shared=None):
        rate = experiment.optimizer.arguments["learning_rate"]
        seen.append((rate, experiment.seed, resume))
        run = Run(Path(folder))
        if not resume:
            run.create(experiment)
        split = {"accuracy": 1 - abs(rate - 0.2), "loss": 0.5}
        run.write_summary({"test": split, "train": split, "seconds": 1.0})

    monkeypatch.setattr(jcnn.sweep.run, "train", fake)
    return seen


@pytest.mark.slow
def test_members_are_ordinary_runs_with_the_figures_of_single_ones(swept, tmp_path):
    place = swept / "optimizer.learning_rate=0.2" / "1"
    run = Run(place)
    single = train(run.experiment(), tmp_path / "single")
    assert run.summary()["test"] == single["test"]
    assert len(run.metrics()) == 2
    listed = json.loads((swept / "sweep.json").read_text())
    assert [each["values"] for each in listed["combinations"]] == [
        {"optimizer.learning_rate": rate} for rate in RATES["optimizer.learning_rate"]
    ]
    assert listed["combinations"][0]["figures"]["test error %"]["count"] == 2


def test_seeds_share_data_and_programs_and_give_the_bits_of_single_runs(
    config, tmp_path, monkeypatch
):
    made, read = [], []
    compiled, opened = Program.__init__, jcnn.training.loop.open_data
    monkeypatch.setattr(
        Program,
        "__init__",
        lambda *args, **options: (made.append(1), compiled(*args, **options))[0],
    )
    monkeypatch.setattr(
        jcnn.training.loop, "open_data", lambda each: (read.append(1), opened(each))[1]
    )
    run_sweep(config, {}, seeds=1, out="one", at_once=1)
    programs = len(made)
    run_sweep(config, {}, seeds=3, out="out", at_once=2)
    assert (len(made), len(read)) == (2 * programs, 2)
    single = train(load_experiment(config, {"seed": 2}), tmp_path / "single")
    assert Run(Path("out/2")).summary()["test"] == single["test"]
    states = [load_trained(folder).state.params for folder in ("out/2", tmp_path / "single")]
    same = jax.tree.map(lambda a, b: bool((a == b).all()), *states)
    assert all(jax.tree.leaves(same))


def test_rules_and_their_references_share_no_program(config):
    experiment, shared = load_experiment(config), Shared()
    programs = {
        shared.program("step", experiment, lambda: abs, namespace)
        for namespace in (ops, reference, ops)
    }
    assert len(programs) == 2


def test_what_is_there_is_taken_and_what_was_killed_goes_on(swept, config, untrained):
    out = shutil.copytree(swept, Path("out"))
    (out / "optimizer.learning_rate=0.1" / "0" / "summary.json").unlink()
    shutil.rmtree(out / "optimizer.learning_rate=0.2" / "1")
    run_sweep(config, RATES, seeds=2, out=out)
    assert sorted(untrained) == [(0.1, 0, True), (0.2, 1, False)]


def test_a_run_of_another_experiment_is_refused_before_any_is_trained(config, untrained):
    written(Path("out/1"), training__epochs=7)
    with pytest.raises(UserError, match="out/1' holds a run of another experiment"):
        run_sweep(config, {}, seeds=2, out="out")
    assert not untrained


@pytest.mark.parametrize(
    ("choices", "how", "words"),
    [
        ({"optimizer.learning_rate": [0.2, 0.3]}, {}, "with optimizer.learning_rate = 0.1, which"),
        ({"training.batch_size": [25]}, {}, "over optimizer.learning_rate, and this one is over t"),
        ({}, {}, "over optimizer.learning_rate, and this one is over seeds alone"),
        (RATES, {"seeds": 1}, "of 2 seeds, and this one has 1"),
        (RATES, {"method": "search"}, "by grid, and this one is by search"),
    ],
)
def test_a_folder_of_another_sweep_is_refused(config, untrained, choices, how, words):
    run_sweep(config, RATES, seeds=2, out="out")
    before, count = Path("out/sweep.json").read_bytes(), len(untrained)
    with pytest.raises(UserError, match=f"^'out' holds a sweep {words}.*; give another --out$"):
        run_sweep(config, choices, **{"seeds": 2, "out": "out", **how})
    assert (Path("out/sweep.json").read_bytes(), len(untrained)) == (before, count)


def test_a_sweep_grows_by_values_and_seeds(config, untrained):
    run_sweep(config, RATES, seeds=1, out="out")
    more = {"optimizer.learning_rate": [0.1, 0.15, 0.2]}
    run_sweep(config, more, seeds=2, out="out")
    assert len(untrained) == 6
    found = json.loads(Path("out/sweep.json").read_text())["combinations"]
    assert [len(each["runs"]) for each in found] == [2, 2, 2]
    assert [str(run) for run in members(Path("out"))] == [r for each in found for r in each["runs"]]


def test_a_sweep_is_compared_as_its_members_are(config, untrained, capsys):
    run_sweep(config, RATES, seeds=2, out="out")
    runs = [str(run) for run in members(Path("out"))]
    assert len(runs) == 4
    shown = []
    for arguments in (["out"], runs):
        assert main(["compare", *arguments, "--json"]) == 0
        shown.append(json.loads(capsys.readouterr().out))
    assert shown[0] == shown[1]
    assert [run["group"] for run in shown[0]["runs"]] == ["A", "A", "B", "B"]


def test_a_damaged_table_of_a_sweep_is_named(config, untrained):
    Path("out").mkdir()
    for text in ("{", "[]", '{"combinations": []}', '{"combinations": [{"values": {}}]}'):
        Path("out/sweep.json").write_text(text)
        with pytest.raises(UserError, match=r"out/sweep\.json' is damaged: expected a sweep's"):
            run_sweep(config, RATES, out="out")
    assert not untrained


def test_fewer_combinations_than_are_to_be_drawn_are_said(config, untrained):
    said = []
    run_sweep(config, RATES, method="random", count=3, say=said.append)
    assert said[0] == "2 combinations of these values, fewer than the 3 asked for"
    run_sweep(config, RATES, method="random", count=2, say=(few := []).append)
    assert not [line for line in few if "asked for" in line]


def test_a_failure_ends_the_others(config, monkeypatch):
    def fails(experiment, folder, *, resume, progress, shared):
        if experiment.seed == 0:
            raise UserError("a damaged file")
        while True:
            progress.stepped(1, {}, 1.0)

    monkeypatch.setattr(jcnn.sweep.run, "train", fails)
    with pytest.raises(UserError, match="a damaged file"):
        run_sweep(config, {}, seeds=3, out="out", at_once=2)


def test_a_member_that_diverges_is_named_and_the_others_go_on(config, capsys):
    rates = ["--over", "optimizer.learning_rate=1e38,0.1"]
    for _ in range(2):  # the same command again finds the same
        assert main(["sweep", str(config), *rates, "--seeds", "2", "--json"]) == 0
        captured = capsys.readouterr()
        wild, tame = json.loads(captured.out)["combinations"]
        assert (wild["figures"], wild["diverged"]) == ({}, wild["runs"])
        assert (tame["figures"]["test error %"]["count"], tame["diverged"]) == (2, [])
        assert "jcnn check runs/tiny-sweep/optimizer.learning_rate=1e+38/0" in captured.err
    assert main(["sweep", str(config), *rates, "--seeds", "2"]) == 0
    assert "0, 2 diverged" in capsys.readouterr().out
    assert Path("runs/tiny-sweep/sweep.svg").exists()


def test_where_every_member_diverges_nothing_is_compared(config, capsys):
    assert main(["sweep", str(config), "--set", "optimizer.learning_rate=1e38"]) == 2
    assert "every member diverged" in capsys.readouterr().err


def test_a_combination_that_diverged_in_part_is_not_the_best(capsys):
    whole = Combination({"a": 1}, ["0", "1"], {"test error %": spread([9.0, 9.0])})
    part = Combination({"a": 2}, ["0", "1"], {"test error %": spread([1.0])}, ["1"])
    assert Sweep("x.toml", [part, whole]).best is whole
    print_sweep(Sweep("x.toml", [replace(part, values={})]))
    assert "Diverged, and not in the table: 1" in capsys.readouterr().out


def test_an_infinite_loss_has_a_mean_and_no_interval():
    found = spread([1.0, math.inf])
    assert (found.mean, found.low, found.high) == (math.inf, None, None)
    assert math.isnan(found.deviation)


def test_the_command_prints_a_row_per_combination(config, untrained, capsys):
    over = ["--over", "optimizer.learning_rate=0.1,0.2", "--over", "training.batch_size=25,50"]
    assert main(["sweep", str(config), *over, "--seeds", "2"]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("0.00") >= 2
    assert "training.batch_s" in captured.out
    assert captured.err.count("test error") == 8
    assert Path("runs/tiny-sweep/sweep.svg").read_text().startswith("<?xml")
    assert main(["sweep", str(config), *over, "--seeds", "2", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["combinations"]) == 4
    assert len(untrained) == 8


def test_the_file_s_table_says_what_arguments_do_not(config, untrained):
    config.write_text(
        CONFIG + '[sweep]\nseeds = 3\nover = {"optimizer.learning_rate" = [0.1, 0.3]}\n'
    )
    assert main(["sweep", str(config)]) == 0
    assert sorted(untrained) == [(r, s, False) for r in (0.1, 0.3) for s in range(3)]
    assert load_experiment(config).seed == 0


KINDS = """
[data]
name = "image_folder"
folder = "photos"
classes = 10
[optimizer]
name = "adamw"
learning_rate = 1
before = [{name = "trace", decay = 1}]
[training]
augment = [{name = "color", brightness = 0.1}]
[[layers]]
type = "dropout"
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
features = 10
"""


@pytest.mark.parametrize(
    ("key", "real"),
    [
        ("optimizer.weight_decay", True),
        ("optimizer.learning_rate", True),
        ("optimizer.eps", True),
        ("optimizer.before.0.decay", True),
        ("optimizer.rates.dense_1", True),
        ("training.average_decay", True),
        ("training.augment.0.contrast", True),
        ("layers.0.drop_rate", True),
        ("loss.label_smoothing", True),
        ("data.mean.0", True),
        ("data.mean", False),
        ("data.validation", False),
        ("data.train_count", False),
        ("training.epochs", False),
        ("training.early_stopping.patience", False),
        ("mesh.data", False),
        ("layers.2.features", False),
        ("layers.9.features", False),
        ("optimizer.seed", False),
        ("no.such.key", False),
    ],
)
def test_a_range_of_integers_is_real_where_its_key_is(config, key, real):
    config.write_text(KINDS)
    found = typed({key: Range(0, 1)}, load_experiment(config))
    assert found[key].whole is not real
    assert len(drawn(found, 4)) == (4 if real else 2)


@pytest.mark.parametrize(
    ("key", "real"),
    [("init_value", True), ("alpha", True), ("decay_steps", False)],
)
def test_a_range_of_a_schedule_s_argument_is_of_its_kind(config, key, real):
    schedule = {"schedule": "cosine_decay_schedule", "init_value": 1, "decay_steps": 9}
    experiment = load_experiment(config, {"optimizer.learning_rate": schedule})
    place = f"optimizer.learning_rate.{key}"
    assert typed({place: Range(0, 1)}, experiment)[place].whole is not real


def test_arguments_with_an_integer_as_their_default_take_integers(config):
    experiment = load_experiment(config, {"optimizer": {"name": "muon", "learning_rate": 0.1}})
    found = typed(dict.fromkeys(("optimizer.ns_steps", "optimizer.beta"), Range(1, 9)), experiment)
    assert [values.whole for values in found.values()] == [True, False]


@pytest.mark.parametrize("values", [Range(0.12345, 0.12349), Range(2, 5), Range(1, 16)])
def test_no_number_is_drawn_from_beyond_the_ends_of_a_range(values):
    generator = random.Random(0)
    found = [values.draw(generator) for _ in range(500)]
    assert values.low <= min(found)
    assert max(found) <= values.high


@pytest.mark.parametrize("high", [3, 16])
def test_the_ends_of_a_range_of_integers_are_drawn_as_often_as_those_between(high):
    """By differences each as often as any other; by ratios the smaller, the more often."""
    generator, values = random.Random(0), Range(1, high)
    found = Counter(values.draw(generator) for _ in range(9000))
    if values.logarithmic:
        assert found[1] > found[2] > found[3]
        assert found[16] > 0.75 * found[15]
    else:
        assert min(found.values()) > 0.9 * max(found.values())


@pytest.mark.parametrize(
    "written",
    [
        *("1..inf", "-inf..1", "nan..1", "1..1e400", f"1..1{'0' * 400}", "1..", "..1", "1..x"),
        *("1...2", "1..2..3", "2..1", "0.1..1,2", "1..2,5..6"),
    ],
)
def test_a_range_without_an_end_is_refused(written):
    with pytest.raises(UserError, match=r"--over a: expected values, or LOW\.\.HIGH rising, found"):
        parse_over(f"a={written}")


def test_as_many_are_drawn_as_are_asked_for_and_none_twice():
    assert len(drawn({"a": Range(1, 4)}, 4)) == 4
    assert len(drawn({"a": Range(1, 2)}, 9)) == 2
    assert combinations({"a": [1, 1, 2]}) == [{"a": 1}, {"a": 2}]


def test_random_draws_within_its_ranges_and_repeats_itself():
    choices = {"a": Range(0.001, 0.1), "b": ["x", "y"], "c": Range(8, 64)}
    found = drawn(choices, 20)
    assert found == drawn(choices, 20)
    assert all(0.001 <= one["a"] <= 0.1 and isinstance(one["c"], int) for one in found)
    assert {one["b"] for one in found} == {"x", "y"}
    assert sum(one["a"] < 0.01 for one in found) in range(5, 16)


@needs_optuna
def test_a_search_draws_near_to_the_best_and_goes_on_where_it_stood(config, untrained):
    choices = {"optimizer.learning_rate": Range(0.01, 1.0)}
    done = run_sweep(config, choices, out="out", method="search", count=12)
    best = done.best.values["optimizer.learning_rate"]
    assert abs(best - 0.2) < 0.1
    count = len(untrained)
    again = run_sweep(config, choices, out="out", method="search", count=12)
    assert len(untrained) == count
    assert again == done


@pytest.fixture
def together(config, monkeypatch, untrained):
    """How many members were trained at a time, in turn."""
    seen, trained = [], jcnn.sweep.run._Members._trained

    def counted(self, members):
        seen.append(len(members))
        return trained(self, members)

    monkeypatch.setattr(jcnn.sweep.run._Members, "_trained", counted)
    return seen


@needs_optuna
@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"at_once": 3}, [3, 3, 1]),
        ({"at_once": 5, "seeds": 2}, [4, 4, 4, 2]),
        ({"at_once": 1}, [1] * 7),
        ({}, [1] * 7),
    ],
)
def test_a_search_proposes_as_many_as_are_trained_at_once(config, together, how, expected):
    choices = {"optimizer.learning_rate": Range(0.01, 1.0)}
    done = run_sweep(config, choices, out="out", method="search", count=7, **how)
    assert together == expected
    assert len(done.combinations) == 7


@needs_optuna
def test_a_search_that_goes_on_proposes_as_it_began(config, untrained):
    choices, said = {"optimizer.learning_rate": Range(0.01, 1.0)}, []
    how = {"out": "out", "method": "search"}
    run_sweep(config, choices, at_once=3, count=12, **how)
    shutil.move("out", "whole")
    run_sweep(config, choices, at_once=3, count=6, **how)
    run_sweep(config, choices, at_once=2, count=12, say=said.append, **how)
    members = [sorted(path.name for path in Path(o).iterdir()) for o in ("whole", "out")]
    assert members[0] == members[1]
    assert "the search in out goes on with 3 proposals at a time, as it began" in said


@needs_optuna
def test_a_search_of_before_goes_on_one_by_one(config, untrained, together):
    choices = {"optimizer.learning_rate": Range(0.01, 1.0)}
    how = {"out": "out", "method": "search"}
    run_sweep(config, choices, count=2, **how)
    (Path("out") / "search.json").unlink()
    run_sweep(config, choices, at_once=4, count=4, **how)
    assert together == [1] * 6


@needs_optuna
def test_a_damaged_record_of_a_search_is_named(config, untrained):
    choices = {"optimizer.learning_rate": Range(0.01, 1.0)}
    Path("out").mkdir()
    for text in ("{", "[]", '{"proposals_at_once": 0}'):
        (Path("out") / "search.json").write_text(text)
        with pytest.raises(UserError, match=r"search\.json': expected proposals_at_once"):
            run_sweep(config, choices, out="out", method="search", count=2)


def test_without_the_extra_a_search_says_what_to_install(config, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    arguments = ["--over", "optimizer.learning_rate=0.1..1", "--search", "2"]
    assert main(["sweep", str(config), *arguments]) == 2
    assert "jcnn[sweep]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("../a,../b", ["../a", "../b"]),
        ("..", [".."]),
        ("../2", ["../2"]),
        ("../2024..05/x", ["../2024..05/x"]),
        ('"1..2"', ["1..2"]),
        ("'../a','../b'", ["../a", "../b"]),
        ("[{name = '1..2'}],x", [[{"name": "1..2"}], "x"]),
        ("a..b", ["a..b"]),
    ],
)
def test_two_dots_without_numbers_are_no_range(written, values):
    assert parse_over(f"data.folder={written}")[1] == values


def test_values_are_split_outside_tables_and_strings():
    assert parse_over('a=[1, 2],{x = "1,2", y = 2}')[1] == [[1, 2], {"x": "1,2", "y": 2}]
    assert parse_over("a=adam,sgd")[1] == ["adam", "sgd"]


def test_intervals_end_at_no_error_and_at_no_time():
    figures = jcnn.sweep.run._figures(
        [
            {"test": {"accuracy": 1.0 - error, "loss": error}, "seconds": error}
            for error in (0.0, 0.01)
        ]
    )
    assert [figure.low for figure in figures.values()] == [0.0, 0.0, 0.0]
    assert figures["test error %"].high < 100


def test_the_table_of_seeds_has_mean_deviation_interval_and_range(capsys):
    figures = {"test error %": spread([4.0, 6.0]), "seconds": spread([2.0])}
    print_sweep(Sweep("x.toml", [Combination({}, [], figures)]))
    heads, _, error, seconds = (
        line.split() for line in capsys.readouterr().out.split("\n") if line.strip()
    )
    assert " ".join(heads) == "n = 2 mean deviation 95 % interval min max"
    assert " ".join(error) == "test error % 5.00 1.41 -7.71 to 17.71 4.00 6.00"
    assert " ".join(seconds) == "seconds 2.00 – – 2.00 2.00"


def test_one_figure_has_no_deviation(config, untrained, capsys):
    assert spread([4.0]).deviation is None
    over = ["--over", "optimizer.learning_rate=0.1,0.2"]
    assert main(["sweep", str(config), *over]) == 0
    _, _, *rows = capsys.readouterr().out.strip().splitlines()
    assert [row.split()[:5] for row in rows] == [
        ["0.1", "1", "10.00", "–", "–"],
        ["0.2", "1", "0.00", "–", "–"],
    ]
    written = json.loads(Path("runs/tiny-sweep/sweep.json").read_text())
    assert written["combinations"][0]["figures"]["test error %"]["deviation"] is None


def test_one_combination_has_the_table_of_several(config, untrained, capsys):
    assert main(["sweep", str(config), "--over", "optimizer.learning_rate=0.1"]) == 0
    said = capsys.readouterr().out
    assert "|" not in said
    first, _, only = said.strip().splitlines()
    assert (first.split()[0], only.split()[0]) == ("optimizer.learning_rate", "0.1")


def test_the_training_error_is_shown_where_it_was_measured(config, untrained, monkeypatch, capsys):
    monkeypatch.setattr(
        jcnn.sweep.run, "evaluate", lambda folder, split: {"accuracy": 0.75, "loss": 0.5}
    )
    assert main(["sweep", str(config)]) == 0
    captured = capsys.readouterr()
    assert "train error" not in captured.out + captured.err
    assert main(["sweep", str(config), "--train"]) == 0
    captured = capsys.readouterr()
    assert "train error % 25.00" in " ".join(captured.out.split())
    over = ["--over", "optimizer.learning_rate=0.1", "--train", "--out", "over"]
    assert main(["sweep", str(config), *over]) == 0
    head, _, row = capsys.readouterr().out.strip().splitlines()
    assert (head.split()[-3:], row.split()[-1]) == (["train", "error", "%"], "25.00")


def test_the_table_shows_the_validation_error_that_it_chooses_by(capsys):
    figures = {"test error %": 3.0, "test loss": 0.1, "seconds": 2.0}
    rows = [
        Combination({"a": a}, [], {name: spread([value]) for name, value in own.items()})
        for a, own in enumerate((figures, {**figures, "validation error %": 4.25}))
    ]
    print_sweep(Sweep("c", rows))
    head, _, without, with_it = capsys.readouterr().out.strip().splitlines()
    assert head.split()[-3:] == ["validation", "error", "%"]
    assert (without.split()[-1], with_it.split()[-1]) == ("–", "4.25")
    print_sweep(Sweep("c", [rows[0], rows[0]]))
    assert "validation" not in capsys.readouterr().out


def test_values_are_shown_as_they_are_whatever_they_hold(capsys, tmp_path):
    """Brackets are no markup, colons no emoji, and dollars no formula."""
    values = ["photos [raw]", "a[/b]/x", "x:smile:y", "$a_{$ b"]
    figures = {"test error %": spread([3.0]), "test loss": spread([0.1]), "seconds": spread([2.0])}
    rows = [Combination({"data.[folder]": value}, [], figures) for value in values]
    print_sweep(Sweep("c", rows))
    said = capsys.readouterr().out
    assert all(value in said for value in (*values, "data.[folder]"))
    save_figure(Sweep("c", rows), tmp_path / "sweep.svg")
    assert (tmp_path / "sweep.svg").stat().st_size


def test_the_best_is_that_of_the_smallest_error():
    rows = [Combination({"a": k}, [], {"test error %": spread([e])}) for k, e in enumerate((3, 1))]
    assert Sweep("c", rows).best.values == {"a": 1}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--over", "training.batch_size"], "KEY=V1,V2"),
        (["--over", "optimizer.learning_rate=0.1..1"], "--random"),
        (["--over", "optimizer.learning_rate=1..0.1", "--random", "2"], "rising"),
        (["--over", "training.epoch=1,2"], "--over training.epoch: unknown key"),
        (["--over", "optimizer.learning_rat=1,2"], "learning_rate"),
        (["--over", "training.epochs=0,1"], "--over training.epochs: "),
        (["--over", "seed=1,2"], "--seeds"),
        (["--random", "2", "--search", "2"], "exclude"),
        (["--random", "2"], "a sweep by random varies keys: expected --over"),
        (["--search", "2"], "a sweep by search varies keys: expected --over"),
        (["--seeds", "99999999"], "expected 10,000 seeds of a sweep at most, found 99,999,999"),
        (["--over", "training.epochs=1..2", "--random", "99999999"], "10,000 combinations"),
        (GRID, "expected 10,000 combinations of a sweep at most, found 27,000"),
        (["--set", "seed=5"], "--set seed: expected a key other than seed; see --seeds"),
        (["--over", "training.epochs=1", "--over", "training.epochs=2"], "expected one --over w"),
        (["--set", "training.epochs=3", *EPOCHS], "--set training.epochs: expected a key that --o"),
        (["--set", "loss.name=x", "--over", "loss={}"], "--set loss.name: expected a key that"),
        ([*EPOCHS, "--over", "training={}"], "--over training.epochs: expected a key that"),
    ],
)
def test_a_wrong_argument_is_named(config, untrained, capsys, arguments, words):
    assert main(["sweep", str(config), *arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""
    assert not untrained


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("seed = 3", "seeds"),
        ("seeds = 0", "sweep.seeds"),
        ('over = {a = "x"}', "sweep.over.a"),
        ("over = {a.b = [1]}", r'sweep\.over\.a\.b: expected the key in quotes, "a\.b" = …, found'),
        ("[sweep.over.training]\nepochs = [1]", r"sweep\.over\.training\.epochs: expected the key"),
        ("over = {a = {}}", r"sweep\.over\.a: expected the key in quotes"),
    ],
)
def test_a_wrong_table_is_named(config, table, words):
    config.write_text(f"{CONFIG}[sweep]\n{table}\n")
    with pytest.raises(UserError, match=words):
        planned(config).choices()


def test_a_table_that_is_a_list_of_tables_is_named(config):
    config.write_text(f"{CONFIG}[[sweep]]\nseeds = 3\n")
    with pytest.raises(UserError, match=r": sweep: expected a table, found \["):
        planned(config)
