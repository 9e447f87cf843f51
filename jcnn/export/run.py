"""From a run's folder to files for elsewhere: built, held against the run, then written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jcnn.config import Experiment
from jcnn.errors import UserError, unknown
from jcnn.export.model_card import CARD, is_card, model_card
from jcnn.export.onnx_graph import onnx_model
from jcnn.export.onnx_nodes import accepting
from jcnn.export.output import Network, hard_outputs, hardening, network, threshold
from jcnn.export.stablehlo import stablehlo
from jcnn.remains import temporary_folder
from jcnn.runs import Run
from jcnn.runs.files import write_bytes, write_text
from jcnn.training import load_trained
from jcnn.training.splits import testing_batches

FORMATS = ("onnx", "safetensors", "stablehlo")
TOLERANCE = 1e-5
_BATCH = 256

Runner = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: The network's file; its model card, ``README.md``, lies beside it.
        format: Its format.
        hard: Whether it gives decisions.
        size: Its bytes.
        examples: Test examples that it was held against the run on.
        accuracy: Of the run, and so of the file.
        largest_difference: Between an output of the file and of the run; None of decisions, which
            are equal.
    """

    path: str
    format: str
    hard: bool
    size: int
    examples: int
    accuracy: float
    largest_difference: float | None


def export_run(
    folder: str | PathLike[str],
    format: str,
    out: str | PathLike[str] | None = None,
    *,
    hard: bool = False,
    license: str = "unknown",
    overrides: Mapping[str, object] | None = None,
) -> Exported:
    """Write a run's network in a format of elsewhere, after it has proved to be the same.

    The whole test split goes through the exported bytes: accuracy must be equal, outputs within
    1e-5 (absolute and relative), decisions equal but where an output is within 1e-5 of both. Else
    nothing is written.

    Args:
        folder: A run's folder.
        format: "onnx", "stablehlo" or "safetensors".
        out: The folder for the file and its model card; ``export`` in the run's where not given.
        hard: Whether to export decisions; see :func:`jcnn.export.hard_outputs`.
        license: Of the weights, as an SPDX identifier, for the model card.
        overrides: Other values for keys of ``[data]``, by dotted key, such as where it lies now.

    Raises:
        UserError: No such format or run, a package is missing, a layer has no counterpart, the data
            are missing, or what was exported differs.
    """
    if format not in FORMATS:
        raise UserError(f"--format: {unknown(format, FORMATS)}")
    if hard and format == "safetensors":
        raise UserError("--hard: a file of weights has no outputs; expected onnx or stablehlo")
    trained = load_trained(folder, overrides)
    taken = network(trained.experiment, *trained.state.evaluated)
    if hard:
        hardening(taken.experiment)
    place = Path(out) if out is not None else Run(Path(folder)).folder / "export"
    if place.exists() and not place.is_dir():
        raise UserError(f"--out {place}: expected a folder, and it is a file")
    if not is_card(place / CARD):
        raise UserError(
            f"--out {place}: its {CARD} is not a model card that jcnn wrote, which would take its "
            "place; expected another folder"
        )
    data = _build(taken, format, hard)
    examples, accuracy, difference = _verify(taken, _runner(taken, format, data), hard)
    try:
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"model.{format}"
        write_bytes(path, data)
        exported = Exported(
            str(path), format, hard, len(data), examples, accuracy, None if hard else difference
        )
        card = model_card(Run(Path(folder)), taken, exported, license, trained.experiment)
        write_text(place / CARD, card)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"--out {place}: can't be written: {reason}") from None
    return exported


def _build(taken: Network, format: str, hard: bool) -> bytes:
    if format == "onnx":
        return onnx_model(taken, hard=hard).SerializeToString(deterministic=True)
    if format == "stablehlo":
        return stablehlo(taken, hard=hard)
    from jcnn.weights import write_weights

    with temporary_folder() as folder:
        path = folder / "model.safetensors"
        write_weights(path, taken.experiment, taken.params, taken.state)
        return path.read_bytes()


def _runner(taken: Network, format: str, data: bytes) -> Runner:
    """Return what runs the exported bytes, as one would elsewhere."""
    if format == "onnx":
        try:
            import onnxruntime
        except ModuleNotFoundError:
            raise UserError(
                "the format onnx is verified by a package that is not installed: "
                "pip install 'jcnn[onnx]'"
            ) from None
        quiet = onnxruntime.SessionOptions()
        quiet.log_severity_level = 4  # what it refuses is said once, by us
        with accepting("ONNX Runtime"):
            session = onnxruntime.InferenceSession(data, quiet, ["CPUExecutionProvider"])

        def run(x: np.ndarray) -> np.ndarray:
            with accepting("ONNX Runtime"):
                return np.asarray(session.run(None, {"input": x})[0])

        return run
    if format == "stablehlo":
        call = jax.jit(jax.export.deserialize(bytearray(data)).call)
        return lambda x: np.asarray(call(x))
    from jcnn.weights import read_weights

    with temporary_folder() as folder:
        path = folder / "model.safetensors"
        path.write_bytes(data)
        read = read_weights(path, taken.experiment)
    call = jax.jit(Network(taken.experiment, *read).function())
    return lambda x: np.asarray(call(x))


def _verify(taken: Network, run: Runner, hard: bool) -> tuple[int, float, float]:
    """Send the test split through both; returns count, accuracy and the largest difference."""
    experiment, ours = taken.experiment, jax.jit(taken.function())
    count = correct = theirs_correct = 0
    largest = 0.0
    for x, y in testing_batches(experiment, _BATCH):
        x = np.ascontiguousarray(x, np.float32)
        expected, found = np.asarray(ours(x)), run(x)
        count += len(y)
        correct += _correct(experiment, expected, y)
        if hard:
            _check_hard(experiment, expected, found)
            continue
        differences = np.abs(found - expected)
        largest = max(largest, float(differences.max(initial=0.0)))
        if (
            found.shape != expected.shape
            or not (differences <= TOLERANCE + TOLERANCE * np.abs(expected)).all()
        ):
            raise UserError(
                f"what was exported gives other outputs than the run, by {largest:.2g}, and "
                f"{TOLERANCE} is allowed; nothing was written"
            )
        theirs_correct += _correct(experiment, found, y)
    if not hard and theirs_correct != correct:
        raise UserError(
            f"what was exported classifies {theirs_correct} of {count} rightly and the run "
            f"{correct}; nothing was written"
        )
    return count, correct / max(count, 1), largest


def _correct(experiment: Experiment, output: np.ndarray, labels: np.ndarray) -> int:
    return int((np.asarray(experiment.loss.predict(jnp.asarray(output))) == labels).sum())


def _check_hard(experiment: Experiment, output: np.ndarray, found: np.ndarray) -> None:
    """Refuse decisions that differ where the output is not within rounding of both."""
    expected = np.asarray(hard_outputs(experiment, jnp.asarray(output)))
    if expected.shape == found.shape:
        if hardening(experiment) == "arg max":
            rows = np.arange(len(output))
            near = output[rows, expected] - output[rows, found] <= TOLERANCE * (
                1 + np.abs(output).max(axis=-1)
            )
        else:
            limit = threshold(experiment) if hardening(experiment) == "unit step" else 0.0
            near = np.abs(output - limit) <= TOLERANCE
        if ((found == expected) | near).all():
            return
    raise UserError("what was exported decides otherwise than the run; nothing was written")
