"""What a training tool is expected to have: each feature is shown to have its effect."""

from __future__ import annotations

import gzip
import io
import json
import math
import re
import sys
import types
from pathlib import Path
from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jcnn.cli.train import outcome
from jcnn.config import EarlyStopping
from jcnn.errors import UserError
from jcnn.runs import Run
from jcnn.training import Profile, Progress, Step, evaluate, load_trained, predictions, train
from jcnn.training.evaluation import all_metrics
from jcnn.training.loop import prepare
from jcnn.training.metrics import ALL, classification_metrics
from jcnn.training.progress import Lines
from jcnn.training.remarks import remarks
from jcnn.training.stopping import Judge
from tests.tolerances import tolerance

# They start processes, train or compile much.
pytestmark = pytest.mark.slow

EARLY = {"metric": "loss", "patience": 2, "min_delta": 100.0}


def same_bits(one, two) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


@pytest.fixture(scope="module")
def digits():
    from jcnn.data import Digits

    return Digits(train_count=300).load().train


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


@pytest.mark.slow
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


@pytest.fixture(scope="module")
def whole_tiny(tmp_path_factory):
    from jcnn.config import load_experiment
    from tests.training.conftest import TINY

    folder = tmp_path_factory.mktemp("whole_tiny")
    (folder / "tiny.toml").write_text(TINY)
    train(load_experiment(folder / "tiny.toml"), folder / "run")
    return folder / "run"


# Accumulation, clipping, plateaus


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_accumulated_batches_are_one_large_batch(tiny, digits, name):
    """The mean of the means of equal batches is the mean of all: what is left is rounding."""
    optimizer = {"name": name, "learning_rate": 0.01, "before": []}
    optimizer["before"] = [{"name": "clip_by_global_norm", "max_norm": 0.5}]
    large = Step(tiny({"optimizer": optimizer, "training.batch_size": 32}))
    small = Step(tiny({"optimizer": optimizer, "training.accumulate_batches": 4}))
    one, parts = large.init(), small.init()
    advance_large, advance_small = jax.jit(large), jax.jit(small)
    for step in range(2):
        rows = slice(32 * step, 32 * step + 32)
        x, y = jnp.asarray(digits.x[rows]), jnp.asarray(digits.y[rows])
        one, _ = advance_large(one, x, y, jax.random.key(0))
        for k in range(4):
            before = parts.params
            part = slice(8 * k, 8 * k + 8)
            parts, _ = advance_small(parts, x[part], y[part], jax.random.key(0))
            assert same_bits(before, parts.params) == (k < 3)
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(parts.params), strict=True):
        np.testing.assert_allclose(a, b, **tolerance(jnp.float32))


def test_schedules_count_the_optimizers_own_steps(tiny):
    rate = {"schedule": "linear_schedule", "init_value": 1.0, "end_value": 0.0}
    optimizer = {"name": "sgd", "learning_rate": rate | {"transition_steps": "1 epoch"}}
    experiment = tiny({"optimizer": optimizer, "training.accumulate_batches": 4})
    with jax.numpy_dtype_promotion("standard"):
        built = experiment.optimizer.build(8, accumulated=4)
        ones = {"w": jnp.ones(1)}
        state, seen = built.init(ones), []
        for _ in range(12):
            updates, state = built.update(ones, state, ones)
            seen.append(float(updates["w"][0]))
    # 8 batches an epoch make two steps: the rate has fallen to 0 after them
    np.testing.assert_allclose(seen, [0, 0, 0, -1, 0, 0, 0, -0.5, 0, 0, 0, 0], atol=1e-6)


@pytest.mark.parametrize("accumulated", [1, 2])
def test_an_alternate_flip_turns_round_with_the_epoch(tiny, digits, accumulated):
    keys = {
        "training.augment": [{"name": "flip", "alternate": True}],
        "training.accumulate_batches": accumulated,
    }
    step = Step(tiny(keys), steps_per_epoch=4)
    x, key = jnp.asarray(digits.x[:32]), jax.random.key(0)
    seen = [step.prepared(x, key, jnp.int32(n))[0] for n in (0, 3, 4, 7, 8)]
    for n, again in enumerate((0, 0, 1, 1, 0)):
        assert np.array_equal(seen[n], seen[0][:, :, ::-1] if again else seen[0])
    assert not np.array_equal(seen[0], x)


def test_gradients_are_clipped(tiny, digits):
    clip = [{"name": "clip_by_global_norm", "max_norm": 1e-3}]
    optimizer = {"name": "sgd", "learning_rate": 1.0, "before": clip}
    step = Step(tiny({"optimizer": optimizer}))
    state = step.init()
    after, _ = jax.jit(step)(state, digits.x[:32], digits.y[:32], jax.random.key(0))
    moved = jax.tree.map(lambda a, b: a - b, after.params, state.params)
    assert float(optax.tree.norm(moved)) == pytest.approx(1e-3, rel=1e-3)


def test_a_plateau_of_the_loss_lowers_the_rate(tiny):
    plateau = {"name": "reduce_on_plateau", "factor": 0.5, "patience": 2, "cooldown": 0}
    optimizer = tiny({"optimizer.after": [plateau]}).optimizer
    built, ones = optimizer.build(10), {"w": jnp.ones(1)}
    state, seen = built.init(ones), []
    for loss in (3.0, 2.0, 2.0, 2.0, 2.0, 2.0):
        updates, state = built.update(ones, state, ones, value=jnp.float32(loss))
        seen.append(abs(float(updates["w"][0])))
    momentum = np.cumsum(0.9 ** np.arange(6)) * 0.1
    shares = np.array(seen) / momentum
    np.testing.assert_allclose(shares, [1, 1, 1, 0.5, 0.5, 0.25], rtol=1e-5)


@pytest.mark.parametrize(
    ("place", "entry", "message"),
    [
        ("before", {"name": "apply_every", "k": 4}, "expected training.accumulate_batches"),
        ("after", {"name": "apply_every", "k": 4}, "expected training.accumulate_batches"),
        ("before", {"name": "reduce_on_plateau"}, "expected it in optimizer.after"),
    ],
)
def test_transformations_in_the_wrong_place_say_the_right_one(tiny, place, entry, message):
    with pytest.raises(UserError, match=message) as raised:
        tiny({f"optimizer.{place}": [entry]})
    assert f"optimizer.{place}" in str(raised.value)


# Frozen layers, rates of their own

FROZEN: dict[str, object] = {
    "layers": [
        {"type": "flatten"},
        {"type": "dense", "features": 8, "name": "body"},
        {"type": "batch_norm", "name": "body_norm"},
        {"type": "dense", "features": 10, "name": "head"},
    ],
    "optimizer": {
        "name": "adamw",
        "learning_rate": 0.01,
        "weight_decay": 0.1,
        "rates": {"body*": 0.0, "head": 0.5},
    },
}


def test_a_frozen_layer_keeps_its_bits(tiny, digits):
    step = Step(tiny(FROZEN))
    start = state = step.init()
    advance = jax.jit(step)
    for _ in range(3):
        state, _ = advance(state, digits.x[:32], digits.y[:32], jax.random.key(0))
    for name in ("body", "body_norm"):
        assert same_bits(state.params[name], start.params[name])
    assert same_bits(state.state, start.state)
    assert not same_bits(state.params["head"], start.params["head"])


def test_a_frozen_layer_is_applied_as_in_evaluation(tiny, digits):
    experiment = tiny(FROZEN)
    params, state = experiment.model.init(jax.random.key(0), experiment.input_shape)
    x = digits.x[:8]
    plain, _ = experiment.model.apply(params, state, x)
    trained, _ = experiment.model.apply(params, state, x, training=True, frozen=experiment.frozen)
    other, _ = experiment.model.apply(params, state, x, training=True)
    np.testing.assert_array_equal(trained, plain)
    assert not np.allclose(other, plain)


def test_a_layer_learns_at_its_own_rate(tiny, digits):
    def moved(rates):
        optimizer = {"name": "sgd", "learning_rate": 0.1, "rates": rates}
        step = Step(tiny({"optimizer": optimizer}))
        state = step.init()
        after, _ = jax.jit(step)(state, digits.x[:32], digits.y[:32], jax.random.key(0))
        return np.asarray(after.params["dense_1"]["w"] - state.params["dense_1"]["w"])

    np.testing.assert_allclose(moved({"dense*": 0.25}), 0.25 * moved({}), rtol=1e-3, atol=1e-7)


def test_a_rate_for_no_layer_is_refused(tiny):
    with pytest.raises(UserError, match=r"optimizer\.rates: no layer .* 'desne_1' .*'dense_1'"):
        tiny({"optimizer.rates": {"desne_1": 0.1}})


@pytest.mark.parametrize("key", ["before", "after"])
def test_a_transformation_for_no_layer_is_refused(key, tiny):
    scale = {"name": "scale", "step_size": 0.1, "layers": ["dense_*", "cnov_*"]}
    where = rf"optimizer\.{key}\.0\.layers: no layer .* 'cnov_\*'"
    with pytest.raises(UserError, match=where):
        tiny({f"optimizer.{key}": [scale]})


def test_a_transformation_for_no_parameter_is_refused(tiny):
    scale = {"name": "scale", "step_size": 0.1, "layers": ["dense_*"], "only": ["slope", "scale"]}
    with pytest.raises(UserError, match=r"before\.0\.only: none of the layers .* slope, scale"):
        tiny({"optimizer.before": [scale]})


# Weights of classes, metrics, validation


WARM_UP = {
    "optimizer.learning_rate": {
        "schedule": "warmup_cosine_decay_schedule",
        "init_value": 0.0,
        "peak_value": 0.1,
        "warmup_steps": "0.6 epochs",
        "decay_steps": "1 epochs",
    }
}


def test_a_run_of_schedules_shorter_than_an_epoch_can_be_read_back(tiny, tmp_path):
    summary = train(tiny({**WARM_UP, "training.epochs": 1}), tmp_path / "run")
    assert evaluate(tmp_path / "run")["loss"] == summary["test"]["loss"]


def test_a_schedule_of_fewer_steps_than_it_needs_is_refused_before_there_is_a_run(tiny, tmp_path):
    experiment = tiny({**WARM_UP, "training.accumulate_batches": 9})
    with pytest.raises(UserError, match="optimizer: sgd refuses its arguments at 1 steps per"):
        train(experiment, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
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


# What is watched, logged and tracked


class Fake(types.ModuleType):
    """Notes what a tracker is told."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.calls: list[tuple[str, tuple, dict]] = []

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*args, **kwargs):
            self.calls.append((name, args, kwargs))
            return self

        return call


@pytest.mark.parametrize(
    ("name", "logs", "ends"),
    [
        ("trackio", "log", "finish"),
        ("mlflow", "log_metrics", "end_run"),
        ("wandb", "log", "finish"),
    ],
)
def test_a_tracker_is_told_the_metrics_and_stays_offline(
    tiny, tmp_path, monkeypatch, name, logs, ends
):
    fake = Fake(name)
    monkeypatch.setitem(sys.modules, name, fake)
    train(tiny({"tracking": {"to": name}, "training.epochs": 2}), tmp_path / "run")
    told = [call[0] for call in fake.calls]
    assert told.count(logs) == 2
    assert told[-1] == ends
    values = next(args[0] for call, args, _ in fake.calls if call == logs)
    test = [row for row in Run(tmp_path / "run").metrics() if row["split"] == "test"]
    assert values["test/loss"] == test[0]["loss"]
    if name == "wandb":
        assert fake.calls[0][2]["mode"] == "offline"
    if name == "mlflow":
        assert fake.calls[0][1][0].startswith(f"sqlite:///{tmp_path}")


def test_a_tracker_that_is_not_installed_is_named(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"tracking\.to is .wandb., which is not installed"):
        train(tiny({"tracking": {"to": "wandb"}, "training.epochs": 1}), tmp_path / "run")


@pytest.mark.slow
def test_tensorboard_is_given_histograms_and_filters(tiny, tmp_path):
    from tensorboardX.proto.event_pb2 import Event

    layers = [
        {"type": "conv", "features": 4, "window": 3},
        {"type": "flatten"},
        {"type": "dense", "features": 10},
    ]
    keys = {"layers": layers, "training.histograms": True, "training.epochs": 1}
    train(tiny(keys), tmp_path / "run")
    (file,) = (tmp_path / "run" / "events").iterdir()
    content, tags = file.read_bytes(), {}
    while content:
        length = int.from_bytes(content[:8], "little")
        event = Event.FromString(content[12 : 12 + length])
        tags |= {value.tag: value for value in event.summary.value}
        content = content[16 + length :]
    layers = ("conv_1/w", "conv_1/b", "dense_1/w", "dense_1/b")
    expected = {f"{kind}/{name}" for kind in ("weights", "gradients") for name in layers}
    assert expected | {"filters", "loss/test", "accuracy/train"} <= set(tags)
    assert tags["weights/conv_1/w"].histo.num == 3 * 3 * 4
    assert (tags["filters"].image.height, tags["filters"].image.width) == (8, 8)


def test_a_profile_is_a_trace_that_perfetto_opens(tiny, tmp_path):
    remarks: list[str] = []
    shown = Progress()
    shown.remark = remarks.append  # type: ignore[method-assign]
    train(
        tiny({"training.epochs": 1}),
        tmp_path / "run",
        progress=Profile(shown, tmp_path / "run" / "profile"),
    )
    (trace,) = (tmp_path / "run" / "profile").rglob("perfetto_trace.json.gz")
    assert json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    assert any("ui.perfetto.dev" in line for line in remarks)


# What is said


def said(experiment, examples=300):
    return list(remarks(experiment, examples, examples // experiment.training.batch_size))


def cosine(steps):
    return {"schedule": "cosine_decay_schedule", "init_value": 0.1, "decay_steps": steps}


@pytest.mark.parametrize(
    ("keys", "examples", "words"),
    [
        ({"training.batch_size": 64}, 120, ["leaves 56 of 120 examples out", "a single step"]),
        ({"training.batch_size": 120}, 120, ["an epoch is a single step"]),
        ({"optimizer.learning_rate": cosine("8 epochs")}, 300, ["its end is never reached"]),
        ({"optimizer.learning_rate": cosine("1 epoch")}, 300, ["after 9 of 36 steps, and stays"]),
        ({"optimizer.learning_rate": cosine("4 epochs")}, 300, []),
        ({"training.accumulate_batches": 100}, 300, ["the optimizer takes no step"]),
        ({"training.matmul_precision": "bfloat16"}, 300, ["changes nothing here"]),
        ({"training.matmul_precision": "float32"}, 300, []),
        ({}, 300, []),
    ],
)
def test_what_may_not_be_meant_is_said(tiny, keys, examples, words):
    lines = said(tiny(keys), examples)
    assert len(lines) == len(words)
    for line, word in zip(lines, words, strict=True):
        assert word in line


# Data that a run learned from


def test_other_data_under_the_same_names_are_refused(tiny, tmp_path, caplog):
    train(tiny({"training.epochs": 1}), tmp_path / "run")
    path = tmp_path / "run" / "data.json"
    written = json.loads(path.read_text())
    for key, value, message in (
        ("classes", ["x", *written["classes"][1:]], "its class 0 is 'x', theirs is '0'"),
        ("classes", written["classes"][:4], "it has 4 classes, they have 10"),
        ("counts", {"train": {"0": 1}}, "'0' had 1 examples for train, now it has"),
        ("fingerprint", "?", "not the files or their contents"),
    ):
        path.write_text(json.dumps({**written, key: value}))
        with pytest.raises(UserError, match=message):
            train(tiny({"training.epochs": 2}), tmp_path / "run", resume=True)
        with caplog.at_level("WARNING", "jcnn"):
            evaluate(tmp_path / "run")
        assert re.search(message, caplog.text)
        caplog.clear()
    path.write_text("{")
    with pytest.raises(UserError, match=r"data\.json' is damaged"):
        train(tiny({"training.epochs": 2}), tmp_path / "run", resume=True)


# Predictions, one after another


def test_files_are_read_a_few_at_a_time_and_a_bad_one_ends_nothing(whole_tiny, tmp_path):
    from PIL import Image

    Image.new("L", (8, 8), 90).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("?")
    asked = []

    def files():
        for number in range(100):
            asked.append(number)
            yield tmp_path / ("bad.png" if number == 1 else "good.png")

    found = predictions(whole_tiny, files())
    first, second = next(found), next(found)
    assert len(asked) < 50
    assert sum(first.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert second.error is not None
    assert "bad.png is not an image" in second.error
    rest = list(found)
    assert len(rest) == 98
    assert {one.error for one in rest} == {None}
    assert {one.best for one in rest} == {first.best}


def test_weights_that_are_no_numbers_predict_nothing(tiny, tmp_path, monkeypatch):
    train(tiny({"training.epochs": 1}), tmp_path / "run")
    from jcnn.training import trained

    real = trained.load_trained

    def spoilt(*args, **kwargs):
        loaded = real(*args, **kwargs)
        params = jax.tree.map(lambda a: a * np.float32(np.nan), loaded.state.params)
        return trained.Trained(loaded.experiment, loaded.state._replace(params=params), loaded.step)

    monkeypatch.setattr(trained, "load_trained", spoilt)
    with pytest.raises(UserError, match=r"values in 'dense_1\.b' that are not numbers"):
        next(predictions(tmp_path / "run", [Path("x.png")]))
