"""Runs beside each other: what differs between them, and whether it is more than chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from os import PathLike
from pathlib import Path
from typing import Any

from jcnn.config import Experiment
from jcnn.data import DataConfig
from jcnn.errors import UserError
from jcnn.runs import Run
from jcnn.runs.statistics import Spread, chance, holm, share_interval, spread

_APART = ("name", "seed")  # what does not make another experiment
BEYOND = 0.05


@dataclass(frozen=True)
class Compared:
    """One run.

    Attributes:
        run: Its folder.
        group: The letter of its experiment; seeds of one experiment share it.
        seed: Its seed.
        ended: Whether its training has ended; else the figures are those of its last evaluation.
        accuracy: On the test split; None where nothing was evaluated yet.
        interval: Wilson's 95 % interval; None where the data are not at hand to count them.
        loss: On the test split.
        validation: Accuracy on the validation split; None where there is none, or nothing yet.
        seconds: Training as a user waits for it.
        parameters: How many the model has.
        rows: Its metrics.
    """

    run: str
    group: str
    seed: int
    ended: bool
    accuracy: float | None
    interval: tuple[float, float] | None
    loss: float | None
    validation: float | None
    seconds: float | None
    parameters: int
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Difference:
    """Two experiments of several seeds each.

    Attributes:
        groups: Their letters.
        accuracy: How much higher the second one's mean accuracy is.
        chance: Of such a difference by chance: Welch's test, Holm's correction over all pairs;
            None where the runs of neither spread, so that nothing can be said.
        beyond_chance: Whether that is below 5 %.
    """

    groups: tuple[str, str]
    accuracy: float
    chance: float | None
    beyond_chance: bool


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found.

    Attributes:
        runs: A row per run.
        keys: Dotted keys of the experiments that differ, each with its value per run; None where a
            run lacks the key.
        groups: By letter the accuracy of one experiment's ended runs, each seed counted once.
        differences: Between experiments of which two seeds or more have ended.
    """

    runs: list[Compared]
    keys: dict[str, list[Any]]
    groups: dict[str, Spread]
    differences: list[Difference]

    def repeated(self) -> list[tuple[int, ...]]:
        """Return the places, from 1 on, of ended runs that share experiment and seed."""
        places: dict[tuple[str, int], list[int]] = {}
        for place, run in enumerate(self.runs, 1):
            if run.accuracy is not None and run.ended:
                places.setdefault((run.group, run.seed), []).append(place)
        return [tuple(own) for own in places.values() if len(own) > 1]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON writes it, without the curves."""
        written = asdict(self)
        for run in written["runs"]:
            del run["rows"]
        return written


def compare(folders: Sequence[str | PathLike[str]]) -> Comparison:
    """Put runs beside each other.

    Args:
        folders: Two runs' folders or more.

    Raises:
        UserError: There is one only, the same one twice, or a folder holds no run.
    """
    if len(folders) < 2:
        raise UserError(f"compare needs two runs or more, found {len(folders)}")
    runs = [Run.open(Path(folder)) for folder in folders]
    places = [run.folder.resolve() for run in runs]
    for place, folder in zip(places, folders, strict=True):
        if places.count(place) > 1:
            raise UserError(f"compare: '{folder}' is given twice")
    experiments = [run.experiment() for run in runs]
    leaves = [dict(_leaves(e.model_dump(mode="json", exclude_none=True))) for e in experiments]
    letters = _letters(leaves)
    counts = _TestCounts()
    compared = [
        _compared(run, experiment, letter, counts)
        for run, experiment, letter in zip(runs, experiments, letters, strict=True)
    ]
    keys = dict.fromkeys(key for own in leaves for key in own if key != "name")
    differing = {key: [own.get(key) for own in leaves] for key in keys}
    differing = {key: values for key, values in differing.items() if _differ(values)}
    return Comparison(compared, differing, *_groups(compared))


class _TestCounts:
    """How many test examples data sets have; each is read once."""

    def __init__(self) -> None:
        self._known: list[tuple[DataConfig, int | None]] = []

    def __call__(self, data: DataConfig) -> int | None:
        for known, count in self._known:
            if known == data:
                return count
        try:
            stream = data.stream()
            labels = data.load().test.y if stream is None else stream.labels("test")
            count = None if labels is None else len(labels)
        except UserError:
            count = None
        self._known.append((data, count))
        return count


def _compared(run: Run, experiment: Experiment, letter: str, counts: _TestCounts) -> Compared:
    ended = run.summary_file.exists()
    rows = run.metrics()
    splits = run.summary() if ended else {row["split"]: row for row in rows}
    test: Mapping[str, Any] = splits.get("test", {})
    accuracy = test.get("accuracy")
    # of a part of the test set, where an evaluation's seconds were up
    count = None if accuracy is None else test.get("examples") or counts(experiment.data)
    interval = None
    if accuracy is not None and count:
        interval = share_interval(round(accuracy * count), count)
    return Compared(
        str(run.folder),
        letter,
        experiment.seed,
        ended,
        accuracy,
        interval,
        test.get("loss"),
        splits.get("validation", {}).get("accuracy"),
        run.summary().get("seconds") if ended else test.get("seconds"),
        experiment.model.cost(experiment.input_shape).parameters,
        rows,
    )


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and values; lists of plain values stay whole."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _leaves(child, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(child, Mapping) for child in value):
        for place, child in enumerate(value):
            yield from _leaves(child, f"{path}.{place}")
    else:
        yield path, value


def _differ(values: Sequence[Any]) -> bool:
    return any(value != values[0] for value in values[1:])


def _letters(leaves: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give each experiment a letter: A, B, …; AA after Z."""
    seen: list[dict[str, Any]] = []
    letters = []
    for own in leaves:
        plain = {key: value for key, value in own.items() if key not in _APART}
        if plain not in seen:
            seen.append(plain)
        letters.append(_letter(seen.index(plain)))
    return letters


def _letter(index: int) -> str:
    tens, ones = divmod(index, 26)
    return (_letter(tens - 1) if tens else "") + chr(ord("A") + ones)


def _groups(runs: Sequence[Compared]) -> tuple[dict[str, Spread], list[Difference]]:
    by_seed: dict[str, dict[int, float]] = {}
    for run in runs:
        if run.ended and run.accuracy is not None:
            # a seed trained again is no further draw: the first run of each counts
            by_seed.setdefault(run.group, {}).setdefault(run.seed, run.accuracy)
    figures = {letter: list(own.values()) for letter, own in by_seed.items()}
    several = [letter for letter, values in figures.items() if len(values) > 1]
    pairs = list(combinations(several, 2))
    chances = holm([chance(figures[a], figures[b]) for a, b in pairs])
    spreads = {letter: spread(values, within=(0.0, 1.0)) for letter, values in figures.items()}
    differences = [
        Difference((a, b), spreads[b].mean - spreads[a].mean, p, p is not None and p < BEYOND)
        for (a, b), p in zip(pairs, chances, strict=True)
    ]
    return spreads, differences
