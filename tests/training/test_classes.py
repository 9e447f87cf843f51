"""Weights of classes, metrics beside accuracy, and a validation split."""

from __future__ import annotations

import json
import math
from time import perf_counter

import numpy as np
import pytest

from jcnn.errors import UserError
from jcnn.runs import Run
from jcnn.training import Step, evaluate, train
from jcnn.training.evaluation import all_metrics
from jcnn.training.loop import prepare
from jcnn.training.metrics import ALL, classification_metrics

# They start processes, train or compile much.
pytestmark = pytest.mark.slow


def test_weights_of_classes_move_their_recall(tiny, tmp_path):
    weights = [1.0] * 10
    weights[3] = 30.0
    keys = {"training.metrics": ["recall"], "training.epochs": 1}
    plain = train(tiny(keys), tmp_path / "plain")
    heavy = train(tiny({**keys, "loss.class_weights": weights}), tmp_path / "heavy")
    assert heavy["test"]["recall"]["3"] > plain["test"]["recall"]["3"]
    assert heavy["test"]["accuracy"] < plain["test"]["accuracy"]


def test_weights_that_are_not_one_per_class_are_refused(tiny):
    with pytest.raises(UserError, match=r"loss\.class_weights has 2 weights: expected 10"):
        tiny({"loss.class_weights": [1.0, 2.0]})


def test_the_confusions_are_of_the_classes_that_accuracy_counts(tiny):
    """Outputs below the other classes' target have equal probabilities at best, and a class."""
    loss = {"name": "mean_squared_error", "targets": [0.9, 1.0]}
    experiment = tiny({"loss": loss, "training.metrics": ["confusion_matrix"]})
    found = all_metrics(
        prepare(experiment)[1]["test"], experiment, Step(experiment).init(), math.inf, perf_counter
    )
    assert np.trace(found["confusion_matrix"]) == round(360 * found["accuracy"])


def test_metrics_are_those_of_their_definitions():
    rng = np.random.default_rng(0)
    p, y = rng.dirichlet(np.ones(7), 60), rng.integers(0, 6, 60)  # class 6 has no example
    names = [f"c{k}" for k in range(7)]
    found = classification_metrics(p, y, names, ALL)
    guess = p.argmax(1)
    matrix = np.array([[((y == a) & (guess == b)).sum() for b in range(7)] for a in range(7)])
    assert found["confusion_matrix"] == matrix.tolist()
    hits, right, taken = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    recall = np.divide(hits, right, out=np.zeros(7), where=right > 0)
    assert list(found["recall"].values()) == pytest.approx(recall)
    both = right + taken
    f1 = np.divide(2 * hits, both, out=np.zeros(7), where=both > 0)
    assert found["f1"] == pytest.approx(f1.mean())
    rank = (p > p[np.arange(60), y][:, None]).sum(1)
    assert found["top_5"] == pytest.approx((rank < 5).mean())


def test_validation_is_measured_beside_the_test_set_and_judges(tiny, tmp_path):
    keys = {"data.validation": 0.1, "training.epochs": 1, "training.metrics": ["top_5"]}
    summary = train(tiny(keys), tmp_path / "run")
    rows = Run(tmp_path / "run").metrics()
    assert [row["split"] for row in rows] == ["train", "validation", "test"]
    assert summary["validation"]["loss"] == rows[1]["loss"] != summary["test"]["loss"]
    measured = evaluate(tmp_path / "run", "validation", metrics=["top_5"])
    assert measured["loss"] == rows[1]["loss"]
    assert measured["top_5"] == rows[1]["top_5"]
    counts = json.loads((tmp_path / "run" / "data.json").read_text())["counts"]
    assert {split: sum(each.values()) for split, each in counts.items()} == {
        "train": 300,
        "validation": 144,
        "test": 360,
    }


def test_a_split_that_there_is_not_is_named(whole_tiny):
    with pytest.raises(UserError, match=r"no split 'validation': data\.validation asks for it"):
        evaluate(whole_tiny, "validation")
