"""What a run has learned: read it back, measure it, predict with it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from jcnn.config import Experiment
from jcnn.data import DataConfig, Dataset
from jcnn.errors import UserError
from jcnn.runs.run import Run
from jcnn.training.compilation import in_own_precision
from jcnn.training.evaluation import (
    DeviceEvaluation,
    Evaluation,
    StreamEvaluation,
)
from jcnn.training.identity import close_data, difference, identity, labels_of, open_data
from jcnn.training.metrics import classification_metrics
from jcnn.training.predicting import make_probabilities
from jcnn.training.state import TrainState
from jcnn.training.step import Step, checkpointed
from jcnn.training.stopping import keeps_best

# Files that are read and predicted at once: what is held of them stays small.
BATCH = 16


@dataclass(frozen=True)
class Trained:
    """An experiment and the state that its newest checkpoint holds."""

    experiment: Experiment
    state: TrainState
    step: int


@in_own_precision
def load_trained(
    folder: str | PathLike[str],
    overrides: Mapping[str, object] | None = None,
    *,
    best: bool = False,
) -> Trained:
    """Read the newest checkpoint of a run that is undamaged; the best, where the run ends with it.

    Args:
        folder: A run's folder.
        overrides: Other values for keys of ``[data]``, by dotted key.
        best: Read the one with the best test accuracy, which ``training.keep_best`` keeps.

    Raises:
        UserError: The folder holds no run, or no checkpoint that can be read; or another key is to
            be changed.
    """
    from jcnn.runs.checkpoints import Checkpoints

    run = Run.open(Path(folder))
    experiment = run.experiment(overrides)
    with Checkpoints(run.checkpoints_folder, read_only=True) as checkpoints:
        place = checkpoints.best() if best or keeps_best(experiment) else None
        if best and place is None:
            raise UserError(f"run '{run.folder}' keeps no best checkpoint (training.keep_best)")
        place = place or checkpoints.newest()
        state = checkpoints.restore(place, checkpointed(Step(experiment)))["state"]
    return Trained(experiment, state, int(state.step))


@in_own_precision
def evaluate(
    folder: str | PathLike[str],
    split: Literal["train", "validation", "test"] = "test",
    overrides: Mapping[str, object] | None = None,
    metrics: Collection[str] = (),
    *,
    best: bool = False,
) -> dict[str, Any]:
    """Measure a run's network on a split of its data, without augmentation.

    Args:
        folder: A run's folder.
        split: Which part of the data.
        overrides: Other values for keys of ``[data]``: measure on other data than it learned from.
        metrics: What to measure beside loss and accuracy; see
            :func:`jcnn.training.metrics.classification_metrics`.
        best: Measure the best checkpoint instead of the newest; see :func:`load_trained`.

    Raises:
        UserError: The folder holds no run, or its data are missing.
    """
    trained = load_trained(folder, overrides, best=best)
    experiment = trained.experiment
    opened = open_data(experiment)
    if labels_of(opened, split) is None:
        raise UserError(
            f"data set '{experiment.data.name}' has no split '{split}': data.validation asks for it"
        )
    if not overrides and (different := difference(Run(Path(folder)), identity(opened))):
        logging.getLogger("jcnn").warning("%s", different)
    try:
        return _measured(trained, opened, split, metrics)
    finally:
        close_data(opened)


def _measured(trained: Trained, opened: Any, split: str, metrics: Collection[str]) -> Any:
    experiment = trained.experiment
    if isinstance(opened, Dataset):
        measure: Evaluation = DeviceEvaluation(experiment, getattr(opened, split))
    else:
        measure = StreamEvaluation(experiment, opened, split=split)
    means = {"split": split, "step": trained.step, **measure(trained.state)}
    if metrics:
        outputs = measure.outputs(trained.state)
        means |= classification_metrics(*outputs, experiment.data.class_names, metrics)
    return means


class Prediction(NamedTuple):
    """What the network says of a file, or why it says nothing.

    Attributes:
        file: The file as it was given.
        probabilities: By class; empty where the file could not be read.
        error: What is wrong with the file; None where nothing is.
    """

    file: str
    probabilities: dict[str, float]
    error: str | None = None

    @property
    def best(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        if self.error is not None:
            return {"file": self.file, "error": self.error}
        return {
            "file": self.file,
            "class": self.best,
            "probability": self.probabilities[self.best],
            "probabilities": self.probabilities,
        }


def predictions(
    folder: str | PathLike[str], files: Iterable[str | PathLike[str]], *, invert: bool = False
) -> Iterator[Prediction]:
    """Yield what a run's network says of each file, in their order, a few files at a time.

    Args:
        folder: A run's folder.
        files: Images (or recordings) of the size that the network was trained on.
        invert: Exchange black and white first: for dark digits on white paper.

    Raises:
        UserError: The folder holds no run, or its weights are not numbers.
    """
    trained = load_trained(folder)
    check_finite(trained, folder)
    experiment, files = trained.experiment, iter(files)
    probabilities = in_own_precision(jax.jit(make_probabilities(experiment)))
    while batch := list(islice(files, BATCH)):
        examples = [_read(experiment.data, Path(file), invert) for file in batch]
        x = np.zeros((BATCH, *experiment.input_shape), np.float32)
        for place, example in enumerate(examples):
            if not isinstance(example, str):
                x[place] = example
        rows = np.asarray(probabilities(trained.state, x))
        for file, example, row in zip(batch, examples, rows, strict=False):
            if isinstance(example, str):
                yield Prediction(str(file), {}, example)
            else:
                by_class = zip(experiment.data.class_names, map(float, row), strict=True)
                yield Prediction(str(file), dict(by_class))


def predict(
    folder: str | PathLike[str], files: Sequence[str | PathLike[str]], *, invert: bool = False
) -> list[dict[str, Any]]:
    """Return the most probable class of each file, and the probability of every class.

    See :func:`predictions`, which needs no more memory for many files.

    Raises:
        UserError: The folder holds no run, or a file can't be read as an example.
    """
    results = []
    for prediction in predictions(folder, files, invert=invert):
        if prediction.error is not None:
            raise UserError(prediction.error)
        results.append(prediction.to_dict())
    return results


def _read(data: DataConfig, path: Path, invert: bool) -> np.ndarray | str:
    """Read an example, or say why that can't be done."""
    try:
        return data.read_example(path, invert=invert)
    except UserError as error:
        return str(error)


def check_finite(trained: Trained, folder: str | PathLike[str]) -> None:
    """Refuse a network that can predict nothing.

    Raises:
        UserError: The weights by which it is evaluated are not numbers.
    """
    for path, leaf in jax.tree_util.tree_flatten_with_path(trained.state.evaluated)[0]:
        if not np.isfinite(leaf).all():
            name = jax.tree_util.keystr(path[1:], simple=True, separator=".")
            raise UserError(
                f"run '{folder}' has values in '{name}' that are not numbers: its training "
                "diverged, and it can predict nothing; train again with a smaller learning rate"
            )
