"""From a run to a file of weights, and back."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from time import perf_counter

from jcnn.config import Experiment
from jcnn.runs.run import Run
from jcnn.training import keys
from jcnn.training.compilation import in_own_precision
from jcnn.training.saving import Saver, Stand
from jcnn.training.state import Totals, Weights
from jcnn.training.step import Step
from jcnn.training.trained import load_trained
from jcnn.weights.safetensors import read_weights, write_weights


def save_weights(folder: str | PathLike[str], path: str | PathLike[str]) -> list[str]:
    """Write what a run has learned (its averaged parameters, where it keeps an average).

    Args:
        folder: A run's folder.
        path: A ``.safetensors`` file, replaced where it exists.

    Returns:
        The tensors' names.

    Raises:
        UserError: The folder holds no run, or the file can't be written.
    """
    trained = load_trained(folder)
    return write_weights(path, trained.experiment, *trained.state.evaluated)


def initial_weights(experiment: Experiment) -> Weights | None:
    """Read what ``training.initial_weights`` names; None where it names nothing.

    What it says to ignore is drawn as without it.

    Raises:
        UserError: See :func:`jcnn.weights.read_weights`.
    """
    named = experiment.training.initial_weights
    if named is None:
        return None
    drawn = None
    if named.ignore:
        drawn = experiment.model.init(keys.init_key(experiment.seed), experiment.input_shape)
    return read_weights(
        named.file, experiment, ignore=named.ignore, replace=named.replace, drawn=drawn
    )


@in_own_precision
def load_weights(experiment: Experiment, out: str | PathLike[str]) -> None:
    """Make a run at step 0 that has the weights of ``training.initial_weights``.

    It needs no training data: weights of elsewhere can be evaluated and predict at once.

    Raises:
        UserError: The file doesn't fit the model, or the folder can't be used.
    """
    from jcnn.runs.checkpoints import Checkpoints
    from jcnn.runs.lock import locked

    run = Run(Path(out))
    run.check_unused()
    weights = initial_weights(experiment)
    # No part of the first state depends on the steps an epoch has.
    state = Step(experiment).init(weights)
    with locked(run):
        run.create(experiment)
        with Checkpoints(run.checkpoints_folder) as checkpoints:
            saver = Saver(checkpoints, every_seconds=0.0, started=perf_counter())
            saver.save(Stand(0, state, Totals.zero()))
            saver.wait()
