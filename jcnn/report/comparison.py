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
from jcnn.report.curves import COLOURS, Curve, draw
from jcnn.report.template import number, percent, render
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
    seconds: float | None
    parameters: int
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Difference:
    """Two experiments of several seeds each.

    Attributes:
        groups: Their letters.
        accuracy: How much higher the second one's mean accuracy is.
        chance: Of such a difference by chance: Welch's test, Holm's correction over all pairs.
        beyond_chance: Whether that is below 5 %.
    """

    groups: tuple[str, str]
    accuracy: float
    chance: float
    beyond_chance: bool


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found.

    Attributes:
        runs: A row per run.
        keys: Dotted keys of the experiments that differ, each with its value per run; None where a
            run lacks the key.
        groups: By letter the accuracy of the ended runs of one experiment.
        differences: Between experiments that have two ended runs or more.
    """

    runs: list[Compared]
    keys: dict[str, list[Any]]
    groups: dict[str, Spread]
    differences: list[Difference]

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
    last = next((row for row in reversed(rows) if row["split"] == "test"), {})
    test = run.summary()["test"] if ended else last
    accuracy = test.get("accuracy")
    count = counts(experiment.data) if accuracy is not None else None
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
        run.summary().get("seconds") if ended else last.get("seconds"),
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
    figures: dict[str, list[float]] = {}
    for run in runs:
        if run.ended and run.accuracy is not None:
            figures.setdefault(run.group, []).append(run.accuracy)
    several = [letter for letter, values in figures.items() if len(values) > 1]
    pairs = list(combinations(several, 2))
    chances = holm([chance(figures[a], figures[b]) for a, b in pairs])
    spreads = {letter: spread(values, within=(0.0, 1.0)) for letter, values in figures.items()}
    differences = [
        Difference((a, b), spreads[b].mean - spreads[a].mean, p, p < BEYOND)
        for (a, b), p in zip(pairs, chances, strict=True)
    ]
    return spreads, differences


def sentences(comparison: Comparison) -> list[str]:
    """Say what the figures allow to be said."""
    said = []
    for difference in comparison.differences:
        a, b = difference.groups
        verdict = "larger than chance" if difference.beyond_chance else "no larger than chance"
        said.append(
            f"{b} less {a}: {number(100 * difference.accuracy)} percentage points of accuracy, "
            f"{verdict} (p = {number(difference.chance, 2)})"
        )
    alone = [letter for letter, group in comparison.groups.items() if group.count == 1]
    if alone and len(comparison.groups) > 1:
        said.append(
            f"{', '.join(alone)}: one ended run each, so nothing is said about chance; "
            "train further seeds (--set seed=1, …)"
        )
    return said


def print_comparison(comparison: Comparison) -> None:
    """Print runs, differing keys and verdicts as tables."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console(width=max(Console().width, 100))
    table = Table(box=SIMPLE_HEAD)
    for column in ("", "run", "seed", "test accuracy", "95 % interval", "test loss", "seconds"):
        table.add_column(column, justify="left" if column in ("", "run") else "right")
    for run in comparison.runs:
        ends = " to ".join(percent(end, 2) for end in run.interval) if run.interval else "–"
        name = run.run if run.ended else f"{run.run} (not ended)"
        figures = percent(run.accuracy, 2), ends, number(run.loss, 4), number(run.seconds)
        table.add_row(run.group, name, str(run.seed), *figures)
    console.print(table)
    table = Table(box=SIMPLE_HEAD, title="What differs", title_justify="left")
    table.add_column("key")
    for number_, run in enumerate(comparison.runs, 1):
        table.add_column(f"{number_}: {Path(run.run).name}", overflow="fold")
    for key, values in comparison.keys.items():
        table.add_row(key, *("–" if value is None else str(value) for value in values))
    if comparison.keys:
        console.print(table)
    for letter, group in comparison.groups.items():
        if group.count > 1:
            console.print(f"{letter}: {_spread_words(group)}", highlight=False)
    for sentence in sentences(comparison):
        console.print(sentence, highlight=False)


def _spread_words(group: Spread) -> str:
    return (
        f"{group.count} seeds, accuracy {percent(group.mean, 2)} ± {percent(group.deviation, 2)}, "
        f"95 % interval of the mean {percent(group.low, 2)} to {percent(group.high, 2)}"
    )


def comparison_page(comparison: Comparison, path: str | PathLike[str]) -> None:
    """Write a page: the same tables, and the curves over each other.

    Raises:
        UserError: The file's folder does not exist.
    """
    from jcnn.runs.files import write_text

    path = Path(path)
    if not path.parent.is_dir():
        raise UserError(f"--html {path}: expected a file in an existing folder")
    text = render(
        "compare.html",
        title=f"Comparison of {len(comparison.runs)} runs",
        comparison=comparison,
        groups={letter: _spread_words(g) for letter, g in comparison.groups.items() if g.count > 1},
        sentences=sentences(comparison),
        charts=[_chart(comparison, key) for key in ("loss", "accuracy")],
    )
    write_text(path, text)


def _chart(comparison: Comparison, key: str) -> Any:
    """One curve per run: a colour per experiment, a dash per run within it."""
    letters = list(dict.fromkeys(run.group for run in comparison.runs))
    seen: dict[str, int] = {}
    curves = []
    for run in comparison.runs:
        dash = seen[run.group] = seen.get(run.group, -1) + 1
        points = [(row["epoch"], row.get(key)) for row in run.rows if row["split"] == "test"]
        colour = letters.index(run.group) % COLOURS
        curves.append(Curve(f"{run.group}: {Path(run.run).name}", points, colour, dash))
    title = f"Test {key} by epoch"
    return draw(curves, title=title, x_label="epoch", y_label=key)
