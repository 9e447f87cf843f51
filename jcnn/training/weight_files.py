"""From a run to a file of weights, and back."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from time import perf_counter

from jcnn.config import Experiment, InitialWeights
from jcnn.errors import UserError
from jcnn.layers import State
from jcnn.runs.run import Run
from jcnn.training import keys
from jcnn.training.compilation import in_own_precision
from jcnn.training.saving import Saver, Stand
from jcnn.training.state import Totals, Weights
from jcnn.training.step import Step
from jcnn.training.trained import load_trained
from jcnn.weights.safetensors import fits, read_weights, write_weights
from jcnn.weights.torch_layout import model_tensors


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

    What it says to ignore is drawn as without it; what a sample of the training examples
    determines is not set yet.

    Raises:
        UserError: See :func:`jcnn.weights.read_weights`.
    """
    named = experiment.training.initial_weights
    if named is None:
        return None
    drawn = None
    if named.ignore:
        drawn = experiment.model.init(keys.init_key(experiment.seed), experiment.input_shape)
    return _read(named, experiment, drawn)


def read_state(experiment: Experiment) -> State:
    """Read the state that ``training.initial_weights`` gives, without what it says to ignore."""
    named = experiment.training.initial_weights
    return _read(named, experiment, None)[1] if named else {}


def _read(named: InitialWeights, experiment: Experiment, drawn: Weights | None) -> Weights:
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
    _check_set(experiment)
    weights = initial_weights(experiment)
    # No part of the first state depends on the steps an epoch has.
    state = Step(experiment).init(weights)
    with locked(run):
        run.create(experiment)
        with Checkpoints(run.checkpoints_folder) as checkpoints:
            saver = Saver(checkpoints, every_seconds=0.0, started=perf_counter())
            saver.save(Stand(0, state, Totals.zero()))
            saver.wait()


def _check_set(experiment: Experiment) -> None:
    """Refuse to ignore what only training examples could give."""
    named = experiment.training.initial_weights
    if named is None or not named.ignore:
        return
    for tensor in model_tensors(experiment.model, experiment.input_shape):
        sampled = tensor.path[0] == "state" and tensor.path[-1] == "w"
        if sampled and fits(tensor.name, named.ignore):
            raise UserError(
                f"training.initial_weights.ignore: '{tensor.name}' of layer "
                f"'{'.'.join(tensor.path[1:-1])}' is set from training images, and none are read "
                "here: expected it from the file"
            )
