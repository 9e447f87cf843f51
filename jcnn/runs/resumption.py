"""Whether an experiment continues the run that a folder holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jcnn.config import Experiment
from jcnn.errors import UserError
from jcnn.runs.run import Run

# What changes no bit of a step; where the data lie may change, as long as they are the same.
CHANGEABLE = (
    *("training.epochs", "training.evaluate_every_epochs", "training.steps_per_dispatch"),
    *("training.max_seconds", "training.histograms", "data.folder", "data.worker_count"),
    *("tracking.to", "tracking.project", "tracking.online", "tracking"),
)


def check_continues(run: Run, experiment: Experiment) -> None:
    """Refuse to resume a run with another experiment; more epochs are allowed.

    Raises:
        UserError: Names the first key that differs.
    """
    before = dict(_leaves(run.experiment().resolved().model_dump(mode="json")))
    now = dict(_leaves(experiment.model_dump(mode="json")))
    for key in [*before, *(key for key in now if key not in before)]:
        old, new = before.get(key), now.get(key)
        if key not in CHANGEABLE and old != new:
            raise UserError(
                f"--resume: '{run.folder}' was started with {key} = {old!r}, not {new!r}; "
                "start a new run for another experiment"
            )


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) for everything that is not a table or a list."""
    if isinstance(value, Mapping):
        children = value.items()
    elif isinstance(value, list | tuple):
        children = enumerate(value)
    else:
        yield path, value
        return
    for key, child in children:
        yield from _leaves(child, f"{path}.{key}" if path else str(key))
