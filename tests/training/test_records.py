"""What is watched, logged, tracked and profiled while a run trains."""

from __future__ import annotations

import gzip
import json
import sys
import types

import pytest

from jcnn.config import load_experiment
from jcnn.errors import UserError
from jcnn.runs import Run
from jcnn.training import Profile, Progress, train

# They start processes, train or compile much.
pytestmark = pytest.mark.slow


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
    tracked = {"tracking": {"to": "wandb"}, "training.epochs": 1}
    with pytest.raises(UserError, match=r"tracking\.to is .wandb., which is not installed"):
        train(tiny(tracked), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_without_a_tracker_that_is_not_installed_here(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", Fake("wandb"))
    run = Run(tmp_path / "run")
    train(tiny({"tracking": {"to": "wandb"}, "training.epochs": 1}), run.folder)
    monkeypatch.setitem(sys.modules, "wandb", None)
    advice = rf"leave the table \[tracking\] out of .*, and of {run.experiment_file} where that is"
    with pytest.raises(UserError, match=advice):
        train(run.experiment(), run.folder, resume=True)
    text = run.experiment_file.read_text()
    table, _, below = text[text.index("[tracking]") :].partition("\n\n")
    run.experiment_file.write_text(text.replace(table, ""))
    assert below
    longer = load_experiment(run.experiment_file, {"training.epochs": 2})
    assert train(longer, run.folder, resume=True)["epochs"] == 2


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
