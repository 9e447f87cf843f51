"""Whether an experiment continues the run that a folder holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jcnn.config import Experiment
from jcnn.errors import UserError, command
from jcnn.runs.run import Run

# What changes no bit of the steps that are done already: keys, and tables and lists as a whole.
CHANGEABLE = (
    "training.epochs",
    "training.evaluate_every_epochs",
    "training.evaluate_max_seconds",
    "training.steps_per_dispatch",
    "training.checkpoint_every_seconds",
    "training.keep_best",
    "training.on_nonfinite",
    "training.max_seconds",
    "training.metrics",
    "training.histograms",
    # where the data lie; that they are the same is seen by their fingerprint
    "data.folder",
    "data.worker_count",
    # where is computed: the same images in the same order, and other roundings
    "mesh",
    "distributed",
    "tracking",
)

Changes = dict[str, tuple[Any, Any]]


def check_continues(run: Run, experiment: Experiment) -> Changes:
    """Refuse to resume a run with another experiment; more or fewer epochs are allowed.

    One that has learned nothing yet may go on with any.

    Returns:
        For each key that has changed, the value before and the value now.

    Raises:
        UserError: Names the first key that may not differ.
    """
    changes = _changes(run, experiment)
    if not run.has_learned():
        return changes
    for key, (old, new) in changes.items():
        if not _may_change(key):
            raise UserError(
                f"--resume: '{run.folder}' was started with {key} = {old!r}, not {new!r}; "
                "start a new run for another experiment"
            )
    return changes


def check_unused(run: Run, experiment: Experiment) -> None:
    """Refuse a folder that holds a run, and say how to go on where it is of this experiment.

    Raises:
        UserError: It holds a run that has learned something.
    """
    if not run.exists() or not run.has_learned():
        return run.check_unused()
    resume = command("train", run.folder, "--resume")
    where = f"folder '{run.folder}' already holds a run of"
    other = [key for key in _changes(run, experiment) if not _may_change(key)]
    if other:
        raise UserError(f"{where} another experiment ({other[0]} differs); give another --out")
    if run.summary_file.exists():
        raise UserError(
            f"{where} this experiment, which has ended; give another --out, or train it further "
            f"with: {resume} --set training.epochs=N"
        )
    raise UserError(f"{where} this experiment, which has not ended; continue it with: {resume}")


def _may_change(key: str) -> bool:
    return any(f"{key}.".startswith(f"{changeable}.") for changeable in CHANGEABLE)


def _changes(run: Run, experiment: Experiment) -> Changes:
    before = dict(leaves(run.experiment().resolved().model_dump(mode="json")))
    now = dict(leaves(experiment.model_dump(mode="json")))
    keys = [*before, *(key for key in now if key not in before)]
    pairs = {key: (before.get(key), now.get(key)) for key in keys}
    return {key: (old, new) for key, (old, new) in pairs.items() if old != new}


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) for everything that is not a table or a list."""
    if isinstance(value, Mapping):
        children = value.items()
    elif isinstance(value, list | tuple):
        children = enumerate(value)
    else:
        yield path, value
        return
    for key, child in children:
        yield from leaves(child, f"{path}.{key}" if path else str(key))
