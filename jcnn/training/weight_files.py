"""From a run to a file of weights, and back."""

from __future__ import annotations

from pathlib import Path

from jcnn.config import Experiment
from jcnn.runs.run import Run
from jcnn.training.state import Totals, init_state
from jcnn.training.trained import load_trained
from jcnn.weights.safetensors import initial_weights, write_weights


def save_weights(folder: Path, path: Path) -> list[str]:
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
    state = trained.state
    return write_weights(path, trained.experiment, state.best_params, state.state)


def load_weights(experiment: Experiment, out: Path) -> None:
    """Make a run at step 0 that has the weights of ``training.initial_weights``.

    It needs no training data: weights of elsewhere can be evaluated and predict at once.

    Raises:
        UserError: The file doesn't fit the model, or the folder can't be used.
    """
    from jcnn.runs.checkpoints import Checkpoints

    run = Run(out)
    run.check_unused()
    weights = initial_weights(experiment)
    # Only the optimizer's counts depend on the steps an epoch has, and they are 0.
    state = init_state(experiment, weights, steps_per_epoch=1)
    run.create(experiment)
    with Checkpoints(run.checkpoints_folder) as checkpoints:
        record = {"steps_per_epoch": 1, "seconds": 0.0, "compile_seconds": 0.0, "sessions": 0}
        checkpoints.save(0, {"state": state, "totals": Totals.zero()}, record)
        checkpoints.wait()
