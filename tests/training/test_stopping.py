"""When training ends: the metric gets no better, or its time is over."""

from __future__ import annotations

import io
import math

import pytest

from jcnn.cli.train import outcome
from jcnn.config import EarlyStopping
from jcnn.errors import UserError
from jcnn.runs import Run
from jcnn.training import Step, evaluate, load_trained, train
from jcnn.training.loop import prepare
from jcnn.training.progress import Lines
from jcnn.training.stopping import Judge
from tests.training.conftest import same_bits

# They start processes, train or compile much.
pytestmark = pytest.mark.slow

EARLY = {"metric": "loss", "patience": 2, "min_delta": 100.0}


# Early stopping


def test_training_stops_when_the_metric_gets_no_better_and_restores_the_best(tiny, tmp_path):
    experiment = tiny({"training.early_stopping": EARLY})
    summary = train(experiment, tmp_path / "run")
    # the first evaluation is the best, and two more are waited for
    assert (summary["stopped_by"], summary["steps"], summary["best_step"]) == (
        "early_stopping",
        3 * 9,
        9,
    )
    assert load_trained(tmp_path / "run").step == 9
    measured = evaluate(tmp_path / "run")
    assert {name: measured[name] for name in summary["test"]} == summary["test"]
    first = next(row for row in Run(tmp_path / "run").metrics() if row["split"] == "test")
    assert measured["loss"] == first["loss"]
    again = train(experiment, tmp_path / "run", resume=True)
    assert again["steps"] == summary["steps"]
    assert again["test"] == summary["test"]


def test_the_last_state_is_kept_where_that_is_wanted(tiny, tmp_path):
    rule = {**EARLY, "restore_best": False}
    summary = train(tiny({"training.early_stopping": rule}), tmp_path / "run")
    assert summary["stopped_by"] == "early_stopping"
    assert load_trained(tmp_path / "run").step == 27
    assert evaluate(tmp_path / "run")["loss"] == summary["test"]["loss"]


@pytest.mark.parametrize(
    ("epochs", "restore_best", "said"),
    [
        (4, True, " (stopped early; of step 9, the best)"),
        (4, False, " (stopped early)"),
        (3, True, " (of step 9, the best)"),
        (3, False, ""),
    ],
)
def test_the_last_line_says_of_which_step_its_figures_are_and_what_ended_training(
    tiny, tmp_path, epochs, restore_best, said
):
    """Patience that ends with the last epoch has ended nothing before it."""
    rule = {**EARLY, "restore_best": restore_best}
    experiment = tiny({"training.early_stopping": rule, "training.epochs": epochs})
    summary = train(experiment, tmp_path / "run")
    assert summary["stopped_by"] == ("early_stopping" if epochs == 4 else None)
    line = outcome(summary, experiment, tmp_path / "run")
    accuracy = evaluate(tmp_path / "run")["accuracy"]
    assert line.startswith(f"test accuracy {accuracy:.2%}{said} in ")


def test_a_metric_that_gets_better_stops_nothing(tiny, tmp_path):
    rule = {"metric": "loss", "patience": 1}
    summary = train(tiny({"training.early_stopping": rule}), tmp_path / "run")
    losses = [r["loss"] for r in Run(tmp_path / "run").metrics() if r["split"] == "test"]
    assert losses == sorted(losses, reverse=True)
    assert (summary["stopped_by"], summary["steps"]) == (None, 36)


def test_a_resumed_run_judges_by_the_rows_of_its_split_alone():
    """A training loss that is better than any test loss is no best evaluation."""
    losses = {"train": (0.3, 0.1, 0.2), "test": (3.0, 1.0, 2.0)}
    rows = [
        {"split": split, "step": step, "loss": losses[split][step]}
        for step in range(3)
        for split in losses
    ]
    judge = Judge(EarlyStopping(metric="loss", patience=2), "test", rows)
    assert (judge.best_step, judge.is_over) == (1, False)
    assert not judge.improved({"step": 3, "loss": 1.5})
    assert judge.is_over


def test_what_is_no_number_is_never_the_best():
    judge = Judge(EarlyStopping(metric="loss", patience=2), "test")
    improved = [judge.improved({"step": k, "loss": v}) for k, v in enumerate((math.nan, 3.0, 2.0))]
    assert improved == [False, True, True]
    assert judge.best_step == 2


# Time


class Said(Lines):
    def __init__(self) -> None:
        super().__init__(io.StringIO())

    def __str__(self) -> str:
        return self._stream.getvalue()


@pytest.mark.parametrize("metrics", [(), ("recall",)])
def test_an_evaluation_ends_when_its_time_is_over_and_says_of_how_many_examples_it_is(
    tiny, tmp_path, whole_tiny, metrics
):
    """One batch of 128 is always measured, in an order that mixes the classes."""
    said = Said()
    hurried = {"training.evaluate_max_seconds": 1e-9, "training.metrics": metrics}
    summary = train(tiny(hurried), tmp_path / "run", progress=said)
    rows = [row for row in Run(tmp_path / "run").metrics() if row["split"] == "test"]
    said_of = [(row.get("examples"), row.get("of")) for row in rows]
    assert said_of == [(128, 360)] * 3 + [(None, None)]
    for row in rows[:3]:
        low, high = row["interval"]
        assert 0 <= low < row["accuracy"] < high <= 1
        assert not metrics or all(0 <= each <= 1 for each in row["recall"].values())
    assert str(said).count("(of 128 of 360)") == 3
    assert summary["test"]["accuracy"] == Run(whole_tiny).summary()["test"]["accuracy"]


def test_an_evaluation_with_time_enough_is_of_all_examples(tiny, tmp_path):
    experiment = tiny({"training.evaluate_max_seconds": 60.0})
    evaluations = prepare(experiment)[1]
    state = Step(experiment).init()
    plain = prepare(tiny())[1]["test"](state)
    found = evaluations["test"](state, 60.0)
    assert found.keys() == plain.keys()
    assert found["accuracy"] == plain["accuracy"]
    labels = evaluations["test"].outputs(state, 128)[1]
    assert len(set(labels.tolist())) == 10


@pytest.mark.parametrize("judging", [{"early_stopping": {"patience": 2}}, {"keep_best": True}])
def test_the_best_is_not_looked_for_among_evaluations_of_different_examples(tiny, judging):
    overrides = {f"training.{key}": value for key, value in judging.items()}
    with pytest.raises(UserError, match=f"training.{next(iter(judging))} exclude each other"):
        tiny({"training.evaluate_max_seconds": 1.0, **overrides})


def test_training_ends_when_its_time_is_over_and_can_be_given_more(tiny, tmp_path, whole_tiny):
    short = tiny({"training.max_seconds": 1e-3, "training.steps_per_dispatch": 4})
    summary = train(short, tmp_path / "run")
    assert summary["stopped_by"] == "max_seconds"
    assert summary["steps"] < 36
    assert summary["test"]["loss"] == evaluate(tmp_path / "run")["loss"]
    again = train(short, tmp_path / "run", resume=True)  # its time is over still
    kept = "steps", "stopped_by", "test"
    assert [again[key] for key in kept] == [summary[key] for key in kept]
    longer = train(tiny({"training.max_seconds": 1e6}), tmp_path / "run", resume=True)
    assert (longer["stopped_by"], longer["steps"]) == (None, 36)
    state = load_trained(tmp_path / "run").state
    assert same_bits(state.params, load_trained(whole_tiny).state.params)
