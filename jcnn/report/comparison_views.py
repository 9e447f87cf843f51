"""A comparison as tables in the terminal, and as a page with the curves over each other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jcnn.console import wide
from jcnn.errors import UserError
from jcnn.report.comparison import Comparison, Difference
from jcnn.report.curves import COLOURS, Curve, draw
from jcnn.report.template import number, percent, render
from jcnn.runs.statistics import Spread

if TYPE_CHECKING:
    from rich.table import Table

_LONGEST = 40
# Keys of [data] by which runs are tested on other examples.
_TESTED = (
    *("name", "folder", "classes", "test_folder", "test_share", "split_seed", "labels"),
    *("held_out_speaker", "validation_count"),
)


def labels(folders: Sequence[str]) -> list[str]:
    """Return of each path the part in which they differ.

    >>> labels(["runs/s/rate=0.1/0", "runs/s/rate=0.2/0"])
    ['rate=0.1', 'rate=0.2']
    >>> labels(["runs/s/rate=0.1/0", "runs/s/rate=0.2/1"])
    ['rate=0.1/0', 'rate=0.2/1']
    """
    parts = [Path(path).parts for path in map(os.path.abspath, folders)]  # "." has none
    for end, rest in ((0, slice(1, None)), (-1, slice(-1))):
        while min(map(len, parts)) > 1 and len({own[end] for own in parts}) == 1:
            parts = [own[rest] for own in parts]
    return ["/".join(own) for own in parts]


def signs(comparison: Comparison) -> list[str]:
    """Return what stands for each run: its number, and the letter of its experiment."""
    return [f"{place} {run.group}" for place, run in enumerate(comparison.runs, 1)]


def has_validation(comparison: Comparison) -> bool:
    """Whether a validation split was measured in one of the runs."""
    return any(run.validation is not None for run in comparison.runs)


def telling(keys: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Leave out the other keys of layers of different types, and of different data sets.

    >>> list(telling({"layers.0.type": [], "layers.0.window": [], "layers.1.window": []}))
    ['layers.0.type', 'layers.1.window']
    """
    tags = [key for key in keys if key.endswith(".type") or key == "data.name"]
    implied = {key for tag in tags for key in keys if key != tag and key.startswith(_table_of(tag))}
    return {key: values for key, values in keys.items() if key not in implied}


def _table_of(tag: str) -> str:
    return tag[: tag.rindex(".") + 1]


def _elsewhere(keys: Mapping[str, Sequence[Any]]) -> str | None:
    """Say that runs were tested on other examples, and by which keys that is known."""
    shown = telling(keys)
    tested = [key for key in (f"data.{name}" for name in _TESTED) if key in shown]
    if not tested:
        return None
    differ = f"{', '.join(tested)} differ{'s' * (len(tested) == 1)}"
    sure = "may not be" if tested == ["data.folder"] else "are not"
    return f"{differ}: the figures {sure} of the same test examples"


def sentences(comparison: Comparison) -> list[str]:
    """Say what the figures allow to be said."""
    said = [note] if (note := _elsewhere(comparison.keys)) else []
    said += [f"{_listed(own)} have the same seed and count once" for own in comparison.repeated()]
    for difference in comparison.differences:
        a, b = difference.groups
        said.append(
            f"{b} less {a}: {number(100 * difference.accuracy)} percentage points of accuracy, "
            f"{_verdict(difference)}"
        )
    alone = [letter for letter, group in comparison.groups.items() if group.count == 1]
    if alone and len(comparison.groups) > 1:
        said.append(
            f"{', '.join(alone)}: only one seed{' each' * (len(alone) > 1)} with an ended run, so "
            "nothing is said about chance; train further seeds (--set seed=1, …)"
        )
    return said


def _listed(places: Sequence[int]) -> str:
    *others, last = map(str, places)
    return f"{', '.join(others)} and {last}"


def _verdict(difference: Difference) -> str:
    if difference.chance is None:
        return (
            "no spread to compare it with: the seeds of each agree; train further (--set seed=1, …)"
        )
    verdict = "larger than chance" if difference.beyond_chance else "no larger than chance"
    return f"{verdict} (p = {number(difference.chance, 2)})"


def print_comparison(comparison: Comparison) -> None:
    """Print runs, differing keys and verdicts as tables."""
    console = wide(100, highlight=False)
    console.print(_figures(comparison))
    if comparison.keys:
        console.print(_differences(comparison))
    for letter, group in comparison.groups.items():
        if group.count > 1:
            console.print(f"{letter}: {_spread_words(group)}")
    for sentence in sentences(comparison):
        console.print(sentence)


def _figures(comparison: Comparison) -> Table:
    judged = ["validation accuracy"] if has_validation(comparison) else []
    titles = "test accuracy", "95 % interval", "test loss", *judged, "seconds"
    table = _table(["", "run", "seed", *titles])
    for column in table.columns[2:]:
        column.justify = "right"
    for sign, run in zip(signs(comparison), comparison.runs, strict=True):
        ends = " to ".join(percent(end, 2) for end in run.interval) if run.interval else "–"
        name = run.run if run.ended else f"{run.run} (not ended)"
        test = percent(run.accuracy, 2), ends, number(run.loss, 4)
        validation = [percent(run.validation, 2) for _ in judged]
        table.add_row(sign, name, str(run.seed), *test, *validation, number(run.seconds))
    return table


def _differences(comparison: Comparison) -> Table:
    """A column per run; of more runs than keys a row per run, so that no column is narrow."""
    rows = [["", *signs(comparison)]]
    keys = telling(comparison.keys)
    rows += [[key, *map(_cell, values)] for key, values in keys.items()]
    if len(comparison.runs) > len(keys):
        rows = [list(row) for row in zip(*rows, strict=True)]
    table = _table(rows[0], title="What differs", title_justify="left")
    for row in rows[1:]:
        table.add_row(*row)
    return table


def _cell(value: Any) -> str:
    text = "–" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _table(columns: Sequence[str], **options: Any) -> Table:
    """A table whose cells are broken where there is no room, and not cut to fit."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, **options)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


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
        keys=telling(comparison.keys),
        groups={letter: _spread_words(g) for letter, g in comparison.groups.items() if g.count > 1},
        sentences=sentences(comparison),
        signs=signs(comparison),
        has_validation=has_validation(comparison),
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
