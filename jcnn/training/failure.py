"""What is kept of a step whose loss or gradients are not finite."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcnn.config import Experiment
from jcnn.data import Batch
from jcnn.errors import UserError, command
from jcnn.runs.files import writing
from jcnn.runs.run import Run, WatchedRun
from jcnn.training import keys
from jcnn.training.feeds import Feed
from jcnn.training.state import TrainState
from jcnn.training.step import Step, checkpointed

LOSS = "loss"
MEASURED = {split: f"{split} loss" for split in ("validation", "test")}  # after the step
UNKNOWN = "step's result, but only where the step is compiled with others,"
_NO_GRADIENTS = (LOSS, *MEASURED.values(), UNKNOWN)


class NonFiniteError(Exception):
    """Training stopped at a loss or a gradient that is infinite or not a number.

    Attributes:
        step: Which step, numbered from 1.
        epoch: In which epoch, numbered from 1.
        tensor: "loss", "validation loss", "test loss", or the parameter whose gradient it is:
            "conv_1.w".
    """

    def __init__(self, run: Run, record: dict[str, Any], hint: str) -> None:
        """Say what it was, and how to look into it."""
        self.step, self.epoch, self.tensor = (record[k] for k in ("step", "epoch", "tensor"))
        after = "after " if self.tensor in MEASURED.values() else ""
        what = "the" if self.tensor in _NO_GRADIENTS else "the gradient of"
        super().__init__(
            f"{after}step {self.step} (epoch {self.epoch}): {what} {self.tensor} is "
            f"{record['value']}; state and batch are in '{run.failure_folder}', look into them "
            f"with: {command('check', run.folder, '--failure')}; {hint}"
        )


@dataclass(frozen=True)
class Failure:
    """A step that gave what is not finite.

    Attributes:
        experiment: The run's.
        state: The training state before the step.
        batch: Its examples, not yet augmented.
        record: ``step``, ``epoch``, ``tensor`` and ``value``; ``steps_per_epoch``.
    """

    experiment: Experiment
    state: TrainState
    batch: Batch
    record: dict[str, Any]


def keep_failure(
    run: Run,
    experiment: Experiment,
    feed: Feed,
    state: TrainState,
    found: tuple[str, float] | None = None,
) -> NonFiniteError:
    """Write state and batch of the step that comes next to the run's ``failure`` folder.

    Args:
        run: Where.
        experiment: What is trained.
        feed: Where the batch comes from.
        state: The state before the step.
        found: The tensor that is not finite, and a value of it; found by taking the step once more
            where not given.
    """
    from jcnn.runs import checkpoint
    from jcnn.runs.parts import own_parts

    done = int(state.step)
    x, y = feed.batch(done)
    tensor, value = found or _first(feed.step, experiment, state, x, y)
    step = done if tensor in MEASURED.values() else done + 1
    epoch = -(-step // feed.step.steps_per_epoch)
    record = {"step": step, "epoch": epoch, "tensor": tensor, "value": str(value)}
    record["steps_per_epoch"] = feed.step.steps_per_epoch  # some augmentations change by epochs
    arrays = own_parts({"state": feed.step.layout.gathered(state), "x": x, "y": y})
    if not isinstance(run, WatchedRun):
        with writing(f"'{run.failure_folder}'"):
            shutil.rmtree(run.failure_folder, ignore_errors=True)
            checkpoint.write(run.failure_folder, arrays, record)
    hint = "a smaller learning rate may help"
    if experiment.training.on_nonfinite == "stop":
        hint += ", or --set training.on_nonfinite=skip"
    return NonFiniteError(run, record, hint)


def _first(step: Step, experiment: Experiment, state: Any, x: Any, y: Any) -> tuple[str, float]:
    """Name the loss, or the gradient nearest to it, that is not finite; and a value of it."""
    key = keys.step_key(experiment.seed, state.step)
    x, model_key = step.prepared(jnp.asarray(x), key, state.step)
    gradients, (_, totals) = jax.jit(step.gradients)(state, x, jnp.asarray(y), model_key)
    if not np.isfinite(totals.loss):
        return LOSS, float(totals.loss)
    gradients = step.layout.gathered(gradients)
    for layer in reversed(experiment.model.names):
        leaves = jax.tree_util.tree_leaves_with_path({layer: gradients.get(layer, {})})
        for path, leaf in leaves:
            wrong = np.asarray(leaf)[~np.isfinite(leaf)]
            if wrong.size:
                return jax.tree_util.keystr(path, simple=True, separator="."), float(wrong[0])
    return UNKNOWN, math.nan


def load_failure(folder: str | PathLike[str]) -> Failure:
    """Read what a run has kept of the step that stopped it.

    Raises:
        UserError: The folder holds no run, or the run no failure, or it is damaged.
    """
    from jcnn.runs import checkpoint

    run = Run.open(Path(folder))
    experiment, kept = run.experiment(), run.failure_folder
    if not kept.is_dir():
        raise UserError(f"run '{run.folder}' has no failure folder: no step has stopped it")
    if wrong := checkpoint.damage(kept):
        raise UserError(f"'{kept}' is damaged: {wrong}")
    size = experiment.training.batch_size
    like = {
        "state": checkpointed(Step(experiment))["state"],
        "x": jax.ShapeDtypeStruct((size, *experiment.input_shape), jnp.float32),
        "y": jax.ShapeDtypeStruct((size,), jnp.int32),
    }
    tree = checkpoint.read_arrays(kept, like)
    return Failure(experiment, tree["state"], (tree["x"], tree["y"]), checkpoint.read_record(kept))
