"""A sweep as a table in the terminal, and as a figure."""

from __future__ import annotations

from pathlib import Path

from jcnn.console import wide
from jcnn.runs.files import write_figure
from jcnn.runs.statistics import Spread
from jcnn.sweep.run import Combination, Sweep

_COLUMNS = ("n", "test error %", "deviation", "95 % interval", "test loss", "seconds")
# Where a combination has them; the best one is that of the validation error.
_FURTHER = ("train error %", "validation error %")


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def interval(own: Spread, digits: int = 2) -> str:
    """Write Student's interval of a mean; a dash of one figure."""
    if own.low is None or own.high is None:
        return "–"
    return f"{own.low:.{digits}f} to {own.high:.{digits}f}"


def print_sweep(sweep: Sweep) -> None:
    """Print a row per combination; of seeds alone, a row per figure."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    console = wide(110)
    table = Table(box=SIMPLE_HEAD)
    keys = list(sweep.combinations[0].values)
    if not keys:
        return _print_seeds(sweep.combinations[0])
    for key in keys:
        table.add_column(key, justify="right", overflow="fold")
    measured = {column for each in sweep.combinations for column in each.figures}
    further = [column for column in _FURTHER if column in measured]
    for column in (*_COLUMNS, *further):
        table.add_column(column, justify="right")
    for each in sweep.combinations:
        cells = [str(each.values[key]) for key in keys] + _cells(each)
        errors = (each.figures.get(column) for column in further)
        cells += [_number(error and error.mean, 2) for error in errors]
        table.add_row(*cells, style="bold" if each is sweep.best else None)
    console.print(table)


def _print_seeds(combination: Combination) -> None:
    """Print how far each figure spreads, since no other combination has to be beside it."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    console, table = wide(110), Table(box=SIMPLE_HEAD)
    count = max((own.count for own in combination.figures.values()), default=0)
    table.add_column(f"n = {count}")
    for column in ("mean", "deviation", "95 % interval", "min", "max"):
        table.add_column(column, justify="right")
    for column, own in combination.figures.items():
        digits = 4 if "loss" in column else 2
        numbers = [_number(n, digits) for n in (own.mean, own.deviation, own.least, own.largest)]
        table.add_row(column, *numbers[:2], interval(own, digits), *numbers[2:])
    console.print(table)
    if combination.diverged:
        console.print(f"Diverged, and not in the table: {', '.join(combination.diverged)}")


def _cells(combination: Combination) -> list[str]:
    figures, lost = combination.figures, len(combination.diverged)
    if not figures:
        return [f"0, {lost} diverged", *["–"] * (len(_COLUMNS) - 1)]
    error = figures["test error %"]
    count = f"{error.count}, {lost} diverged" if lost else f"{error.count}"
    numbers = [f"{error.mean:.2f}", _number(error.deviation, 2), interval(error)]
    return [count, *numbers, f"{figures['test loss'].mean:.4f}", f"{figures['seconds'].mean:.1f}"]


def save_figure(sweep: Sweep, path: Path) -> None:
    """Draw the mean test error of each combination, with its interval and its seeds' range."""
    from matplotlib.figure import Figure

    rows = sweep.combinations
    figure = Figure(figsize=(8, 1.4 + 0.36 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, each in enumerate(rows):
        if not (error := each.figures.get("test error %")):
            axes.text(0, place, "diverged", va="center", transform=axes.get_yaxis_transform())
            continue
        axes.plot([error.least, error.largest], [place, place], color="#9aa5b1", linewidth=6)
        if error.low is not None and error.high is not None:
            axes.plot([error.low, error.high], [place, place], color="#0b5cad", linewidth=1.5)
        axes.plot(error.mean, place, "o", color="#0b5cad")
    labels = [", ".join(f"{k} = {v}" for k, v in each.values.items()) or "all" for each in rows]
    axes.set_yticks(range(len(rows)), labels, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel("test error, %: mean, 95 % interval (line), range of the seeds (bar)")
    write_figure(path, figure)
