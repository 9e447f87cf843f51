"""The page of a run: gathered from its folder, its network and its data, in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jcnn.axes import times
from jcnn.config import Experiment
from jcnn.errors import UserError
from jcnn.layers import Conv, ConvTranspose, Dense, Layer, PatchWhitening, Residual
from jcnn.layers import Sequence as Layers
from jcnn.report import pictures
from jcnn.report.curves import Curve, draw
from jcnn.report.formulas import loss_formula
from jcnn.report.measured import Measured, measure
from jcnn.report.model_rows import layer_rows
from jcnn.report.passes import Pass, passages
from jcnn.report.pictures import Picture
from jcnn.report.template import render
from jcnn.report.views import Taps, check_taps, layer_views, output_rows
from jcnn.report.written import html
from jcnn.runs import Run
from jcnn.runs.place import Place
from jcnn.training import Trained, load_trained

FILE = "report.html"
_MISTAKES = 24
_MOST_CLASSES = 20


@dataclass(frozen=True)
class Mistake:
    """An example that the network is sure of and wrong about."""

    number: int
    picture: Picture
    label: str
    predicted: str
    probability: float
    wave: Picture | None


def write_report(
    folder: str | PathLike[str],
    out: str | PathLike[str] | None = None,
    *,
    examples: Sequence[int] | None = None,
    taps: Taps | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Path:
    """Write a run's page: one HTML file that needs no other and no network.

    A run that is still training, or has no checkpoint yet, gets a page of what there is.

    Args:
        folder: A run's folder.
        out: The file; ``report.html`` in the folder where not given.
        examples: Numbers of the test examples whose passes are shown; the first one, and the surest
            mistake, where not given.
        taps: By layer the tap (*k, c, d) whose gradient is written out, term by term; that of the
            largest gradient where not given.
        overrides: Other values for keys of ``[data]``, by dotted key, such as where it lies now.

    Returns:
        The file.

    Raises:
        UserError: The folder holds no run, its data are missing, or there is no such example, layer
            or tap.
    """
    from jcnn.runs.files import write_text, writing

    run = Run.open(Path(folder))
    experiment = run.experiment(overrides)
    path = Path(out) if out is not None else run.folder / FILE
    if not path.parent.is_dir():
        raise UserError(f"--out {path}: expected a file in an existing folder")
    trained = _trained(run, overrides)
    text = render(
        "report.html",
        title=f"{experiment.name}: report",
        **_overview(run, experiment),
        **(_learned(trained, examples, taps or {}) if trained else {"measured": None}),
    )
    with writing(f"'{path}'"):
        write_text(path, text)
    return path


def _trained(run: Run, overrides: Mapping[str, object] | None) -> Trained | None:
    """Load the newest checkpoint; None where a run has not got that far."""
    try:
        return load_trained(run.folder, overrides)
    except UserError:
        if run.summary_file.exists() or _has_checkpoint(run):
            raise
        return None


def _has_checkpoint(run: Run) -> bool:
    folder = run.checkpoints_folder
    return folder.is_dir() and any(Place.of(entry.name) for entry in folder.iterdir())


def _overview(run: Run, experiment: Experiment) -> dict[str, Any]:
    """What is known without the network: the experiment, the curves, the model's shapes."""
    ended = run.summary_file.exists()
    rows = run.metrics()
    return {
        "experiment": experiment,
        "input": times(experiment.input_shape),
        "summary": run.summary() if ended else None,
        "last": rows[-1] if rows else None,
        "validation": _validation(run, rows),
        "toml": run.experiment_file.read_text(encoding="utf-8"),
        "charts": [] if not rows else [learning_curve(rows, key) for key in ("loss", "accuracy")],
    }


def _validation(run: Run, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The figures that choices were made by, as training measured them; None without the split."""
    if run.summary_file.exists():
        return run.summary().get("validation")
    return next((row for row in reversed(rows) if row["split"] == "validation"), None)


def learning_curve(rows: Sequence[Mapping[str, Any]], key: str) -> Any:
    """Draw a metric of each split over the epochs."""
    curves = [
        Curve(split, [(row["epoch"], row.get(key)) for row in rows if row["split"] == split], k, k)
        for k, split in enumerate(("test", "train", "validation"))
    ]
    return draw(curves, title=f"{key.capitalize()} by epoch", x_label="epoch", y_label=key)


def _learned(trained: Trained, examples: Sequence[int] | None, taps: Taps) -> dict[str, Any]:
    """What only the network and its data can show."""
    experiment = trained.experiment
    params, state = trained.state.evaluated
    measured = measure(trained)
    mistakes = measured.surest_mistakes(_MISTAKES)
    chosen = list(dict.fromkeys(examples or [0, *map(int, mistakes[:1])]))
    names = experiment.data.class_names
    few = len(names) <= _MOST_CLASSES
    return {
        "measured": measured,
        "step": trained.step,
        "classes": measured.by_class(names),
        "names": names,
        "confusion": measured.confusion.tolist() if few else None,
        "confused": None if few else _most_confused(measured, names),
        "mistakes": _mistakes(measured, mistakes, names),
        "filters": _filters(experiment, params, state),
        "rows": layer_rows(experiment, params, state),
        "passes": _passes(measured, chosen, taps),
        "loss_formula": [html(text) for text in loss_formula(experiment.loss)],
    }


def _passes(measured: Measured, chosen: Sequence[int], taps: Taps) -> list[dict[str, Any]]:
    trained, experiment = measured.trained, measured.trained.experiment
    names = experiment.data.class_names
    x, y = measured.examples(chosen), measured.labels[list(chosen)].tolist()
    params, state = trained.state.evaluated
    passed = passages(experiment, params, state, x, np.asarray(y, np.int32))
    check_taps(passed[0].walk(), taps)
    shown = []
    for number, example, label, each in zip(chosen, x, y, passed, strict=True):
        output = jnp.asarray(each.layers[-1].y[None])
        probabilities = np.asarray(experiment.loss.probabilities(output))[0]
        predicted = int(experiment.loss.predict(output)[0])
        shown.append(
            {
                "number": number,
                "label": names[label],
                "predicted": names[predicted],
                "probability": float(probabilities[predicted]),
                "loss": each.loss,
                "picture": _example(experiment, example, f"Test example {number}"),
                "wave": _wave(experiment, number, f"Test example {number}"),
                "gradient": _gradient(example, each),
                "outputs": output_rows(each, probabilities, names),
                "layers": layer_views(each, taps),
            }
        )
    return shown


def _gradient(example: np.ndarray, passed: Pass) -> Picture:
    words = "The input's gradient over the example: orange where more would raise the loss"
    return pictures.over(example, passed.input_gradient, words)


def _example(experiment: Experiment, x: np.ndarray, what: str) -> Picture:
    return pictures.example(x, experiment.data.scale, what)


def _wave(experiment: Experiment, number: int, what: str) -> Picture | None:
    """Show the recording of a test example; None of an image."""
    recordings = experiment.data.test_recordings()
    if recordings is None:
        return None
    recording = recordings[number]
    return pictures.waveform(recording.samples(), recording.sample_rate, what)


def _mistakes(measured: Measured, numbers: np.ndarray, names: Sequence[str]) -> list[Mistake]:
    examples = measured.examples([int(n) for n in numbers])
    shown = []
    for number, x in zip(numbers.tolist(), examples, strict=True):
        label, predicted = (names[int(of[number])] for of in (measured.labels, measured.predicted))
        words = f"Test example {number}, a {label} taken for a {predicted}"
        picture = _example(measured.trained.experiment, x, words)
        sure = float(measured.probabilities[number, measured.predicted[number]])
        wave = _wave(measured.trained.experiment, number, words)
        shown.append(Mistake(int(number), picture, label, predicted, sure, wave))
    return shown


def _most_confused(measured: Measured, names: Sequence[str]) -> list[tuple[str, str, int]]:
    counts = measured.confusion.copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:_MOST_CLASSES]
    pairs = [divmod(int(i), len(counts)) for i in order]
    return [(names[a], names[b], int(counts[a, b])) for a, b in pairs if counts[a, b]]


def _filters(experiment: Experiment, params: Any, state: Any) -> Picture | None:
    """Show what the first layer with weights looks for; None where no layer has any."""
    found = _first_weights(experiment.model, params, state)
    if found is None:
        return None
    name, layer, w = found
    if isinstance(layer, Dense):
        if len(w) != np.prod(experiment.input_shape):
            return None
        w = w.reshape(*experiment.input_shape, -1)
        return pictures.kernels(w, f"Weights of {name}, each over the whole input")
    return pictures.kernels(w, f"Kernels of {name}")


def _first_weights(path: Layers, params: Any, state: Any) -> tuple[str, Layer, np.ndarray] | None:
    for name, layer in zip(path.names, path.layers, strict=True):
        own, kept = params.get(name, {}), state.get(name, {})
        if isinstance(layer, Residual):
            for branch, way in layer.branches().items():
                found = _first_weights(way, own.get(branch, {}), kept.get(branch, {}))
                if found:
                    return found
        elif isinstance(layer, Conv | ConvTranspose | Dense):
            return name, layer, np.asarray(own["w"])
        elif isinstance(layer, PatchWhitening):
            return name, layer, np.asarray(kept["w"])
    return None
