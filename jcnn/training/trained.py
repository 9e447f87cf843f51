"""What a run has learned: read it back, measure it, predict with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jcnn.config import Experiment
from jcnn.errors import UserError
from jcnn.runs.run import Run
from jcnn.training.evaluation import DeviceEvaluation, StreamEvaluation, make_predict
from jcnn.training.state import TrainState
from jcnn.training.step import Step, checkpointed


@dataclass(frozen=True)
class Trained:
    """An experiment and the state that its newest checkpoint holds."""

    experiment: Experiment
    state: TrainState
    step: int


def load_trained(
    folder: str | PathLike[str],
    overrides: Mapping[str, object] | None = None,
    *,
    best: bool = False,
) -> Trained:
    """Read the newest checkpoint of a run that is undamaged.

    Args:
        folder: A run's folder.
        overrides: Other values for keys of ``[data]``, by dotted key.
        best: Read the one with the best test accuracy, which ``training.keep_best`` keeps.

    Raises:
        UserError: The folder holds no run, or no checkpoint that can be read.
    """
    from jcnn.runs.checkpoints import Checkpoints

    run = Run.open(Path(folder))
    for key in overrides or {}:
        if not key.startswith("data."):
            raise UserError(f"--set {key}: of a finished run, only keys of data can be changed")
    experiment = run.experiment(overrides)
    with Checkpoints(run.checkpoints_folder, read_only=True) as checkpoints:
        place = checkpoints.best() if best else checkpoints.newest()
        if best and place is None:
            raise UserError(f"run '{run.folder}' keeps no best checkpoint (training.keep_best)")
        state = checkpoints.restore(place, checkpointed(Step(experiment)))["state"]
    return Trained(experiment, state, int(state.step))


def evaluate(
    folder: str | PathLike[str],
    split: Literal["train", "test"] = "test",
    overrides: Mapping[str, object] | None = None,
    *,
    best: bool = False,
) -> dict[str, Any]:
    """Measure a run's network on a split of its data, without augmentation.

    Args:
        folder: A run's folder.
        split: Which part of the data.
        overrides: Other values for keys of ``[data]``: measure on other data than it learned from.
        best: Measure the best checkpoint instead of the newest; see :func:`load_trained`.

    Raises:
        UserError: The folder holds no run, or its data are missing.
    """
    trained = load_trained(folder, overrides, best=best)
    data = trained.experiment.data
    stream = data.stream()
    if stream is None:
        measure = DeviceEvaluation(trained.experiment, getattr(data.load(), split))
    elif split == "test":
        measure = StreamEvaluation(trained.experiment, stream)
    else:
        raise UserError(f"data set '{data.name}' is a stream; only its test split is measured")
    return {"split": split, "step": trained.step, **measure(trained.state)}


def predict(
    folder: str | PathLike[str], files: Sequence[str | PathLike[str]], *, invert: bool = False
) -> list[dict[str, Any]]:
    """Return the most probable class of each file, and the probability of every class.

    Args:
        folder: A run's folder.
        files: Images (or recordings) of the size that the network was trained on.
        invert: Exchange black and white first: for dark digits on white paper.

    Raises:
        UserError: The folder holds no run, or a file can't be read as an example.
    """
    trained = load_trained(folder)
    experiment = trained.experiment
    examples = [experiment.data.read_example(Path(file), invert=invert) for file in files]
    prediction = jax.jit(make_predict(experiment))(trained.state, jnp.asarray(np.stack(examples)))
    names = experiment.data.class_names
    results = []
    for file, row in zip(files, np.asarray(experiment.loss.probabilities(prediction)), strict=True):
        best = int(row.argmax())
        by_class = {name: float(value) for name, value in zip(names, row, strict=True)}
        results.append(
            {
                "file": str(file),
                "class": names[best],
                "probability": float(row[best]),
                "probabilities": by_class,
            }
        )
    return results
