"""Whether an experiment continues the run that a folder holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
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
            before = f"without {key}" if old is None else f"with {key} = {_shown(old)}"
            now = "and is resumed without it" if new is None else f"not with {_shown(new)}"
            raise UserError(
                f"--resume: '{run.folder}' was started {before}, {now}; start a new run for "
                "another experiment"
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
    before = run.experiment().resolved().model_dump(mode="json")
    return dict(_differing(before, experiment.model_dump(mode="json")))


def _differing(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Yield (dotted key, both values) where two differ: a table that one of them lacks is one.

    >>> dict(_differing({"a": None, "b": {"c": 1}}, {"a": {"d": 2}, "b": {"c": 3}}))
    {'a': (None, {'d': 2}), 'b.c': (1, 3)}
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = [*old, *(key for key in new if key not in old)]
        pairs = [(key, old.get(key), new.get(key)) for key in keys]
    elif _are_tables(old) and _are_tables(new):
        pairs = [(k, one, other) for k, (one, other) in enumerate(zip_longest(old, new))]
    else:
        if old != new:
            yield path, (old, new)
        return
    for key, one, other in pairs:
        yield from _differing(one, other, f"{path}.{key}" if path else str(key))


def _are_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, Mapping) for each in value)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        given = (f"{key} = {_shown(v)}" for key, v in value.items() if v is not None)
        text = f"{{{', '.join(given)}}}"
    else:
        text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


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
