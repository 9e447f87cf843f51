"""A comparison as tables in the terminal, and as a page with the curves over each other."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from jcnn.errors import UserError
from jcnn.report.comparison import Comparison
from jcnn.report.curves import COLOURS, Curve, draw
from jcnn.report.template import number, percent, render
from jcnn.runs.statistics import Spread

_PIPE = 1000  # columns, where no terminal says how many there are


def labels(folders: Sequence[str]) -> list[str]:
    """Return of each path the part in which they differ.

    >>> labels(["runs/s/rate=0.1/0", "runs/s/rate=0.2/0"])
    ['rate=0.1', 'rate=0.2']
    >>> labels(["runs/s/rate=0.1/0", "runs/s/rate=0.2/1"])
    ['rate=0.1/0', 'rate=0.2/1']
    """
    parts = [Path(folder).parts for folder in folders]
    for end, rest in ((0, slice(1, None)), (-1, slice(-1))):
        while min(map(len, parts)) > 1 and len({own[end] for own in parts}) == 1:
            parts = [own[rest] for own in parts]
    return ["/".join(own) for own in parts]


def signs(comparison: Comparison) -> list[str]:
    """Return what stands for each run: its number, and the letter of its experiment."""
    return [f"{place} {run.group}" for place, run in enumerate(comparison.runs, 1)]


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

    console = Console()
    # In a pipe nothing is cut off.
    console.width = max(console.width, 100) if console.is_terminal else _PIPE
    table = Table(box=SIMPLE_HEAD)
    for column in ("", "run", "seed", "test accuracy", "95 % interval", "test loss", "seconds"):
        words = column in ("", "run")
        table.add_column(column, justify="left" if words else "right", overflow="fold")
    for sign, run in zip(signs(comparison), comparison.runs, strict=True):
        ends = " to ".join(percent(end, 2) for end in run.interval) if run.interval else "–"
        name = run.run if run.ended else f"{run.run} (not ended)"
        figures = percent(run.accuracy, 2), ends, number(run.loss, 4), number(run.seconds)
        table.add_row(sign, name, str(run.seed), *figures)
    console.print(table, highlight=False)
    table = Table(box=SIMPLE_HEAD, title="What differs", title_justify="left")
    table.add_column("key", overflow="fold")
    for sign in signs(comparison):
        table.add_column(sign, overflow="fold")
    for key, values in comparison.keys.items():
        table.add_row(key, *("–" if value is None else str(value) for value in values))
    if comparison.keys:
        console.print(table, highlight=False)
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
    from jcnn.runs.files import write_text, writing

    path = Path(path)
    if not path.parent.is_dir():
        raise UserError(f"--html {path}: expected a file in an existing folder")
    text = render(
        "compare.html",
        title=f"Comparison of {len(comparison.runs)} runs",
        comparison=comparison,
        groups={letter: _spread_words(g) for letter, g in comparison.groups.items() if g.count > 1},
        sentences=sentences(comparison),
        signs=signs(comparison),
        charts=[_chart(comparison, key) for key in ("loss", "accuracy")],
    )
    with writing(f"'{path}'"):
        write_text(path, text)


def _chart(comparison: Comparison, key: str) -> Any:
    """One curve per run: a colour per experiment, a dash per run within it."""
    letters = list(dict.fromkeys(run.group for run in comparison.runs))
    seen: dict[str, int] = {}
    curves = []
    names = labels([run.run for run in comparison.runs])
    for sign, name, run in zip(signs(comparison), names, comparison.runs, strict=True):
        dash = seen[run.group] = seen.get(run.group, -1) + 1
        points = [(row["epoch"], row.get(key)) for row in run.rows if row["split"] == "test"]
        colour = letters.index(run.group) % COLOURS
        curves.append(Curve(f"{sign}: {name}", points, colour, dash))
    title = f"Test {key} by epoch"
    return draw(curves, title=title, x_label="epoch", y_label=key)
