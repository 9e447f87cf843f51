"""How a step would scale, as a table and as a figure."""

from __future__ import annotations

from pathlib import Path

from jcnn.benchmark.tables import figure
from jcnn.console import wide
from jcnn.runs.files import write_figure
from jcnn.scaling.prediction import STRONG, WEAK, Row, Scaling, epochs_per_hour

_HEADINGS = (
    "scaling", "devices", "batch", "GFLOP", "memory, MB", "accessed, MB", "collectives",
    "step, ms", "efficiency", "examples/s", "limit",
)  # fmt: skip


def print_scaling(scaling: Scaling, examples: int | None = None) -> None:
    """Print the rows, and what must be known to read them."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    title = f"{scaling.name} on {scaling.chip.name}, figures per device"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for heading in _headings(examples):
        table.add_column(heading, justify="left" if heading == "scaling" else "right", no_wrap=True)
    for cells in _table(scaling, examples):
        table.add_row(*cells)
    console = wide(160, highlight=False)
    console.print(table)
    for note in scaling.notes:
        console.print(note, style="dim")


def _headings(examples: int | None) -> tuple[str, ...]:
    return (*_HEADINGS, *(("epochs/h",) if examples else ()))


def _table(scaling: Scaling, examples: int | None) -> list[tuple[str, ...]]:
    rows = []
    for kind in (STRONG, WEAK):
        for row in scaling.rows:
            if row.scaling == kind:
                more = (figure(epochs_per_hour(row, examples)),) if examples else ()
                rows.append((*_cells(scaling, row), *more))
    return rows


def _cells(scaling: Scaling, row: Row) -> tuple[str, ...]:
    exchanged = [
        f"{count} {kind}, {figure(size / 1e6)} MB"
        for kind, (count, size) in row.collectives.items()
    ]
    limit = row.limit
    if row.memory_bytes > scaling.chip.memory_bytes:
        limit = f"does not fit {figure(scaling.chip.memory_bytes / 1e9)} GB"
    return (
        "one device" if row.devices == 1 else row.scaling,
        f"{row.devices:,}",
        f"{row.batch_size:,}",
        figure(row.flops / 1e9),
        figure(row.memory_bytes / 1e6),
        figure(row.bytes_accessed / 1e6),
        "; ".join(exchanged),
        figure(row.step_seconds * 1e3),
        f"{100 * scaling.efficiency(row):.0f} %",
        f"{row.examples_per_second:,.0f}",
        limit,
    )


def save_plot(scaling: Scaling, path: Path) -> None:
    """Draw examples per second over devices, and what a step's time is made of."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(10, 4), layout="constrained")
    speed, parts = drawn.subplots(1, 2)
    for kind in (STRONG, WEAK):
        rows = scaling.of(kind)
        places = [row.devices for row in rows]
        speed.plot(places, [row.examples_per_second for row in rows], "o-", label=kind)
        for what in ("arithmetic", "memory", "schedule", "links"):
            times = [1e3 * row.seconds.get(what, 0.0) for row in rows]
            if any(times):
                style = "--" if kind == WEAK else "-"
                parts.plot(places, times, style, marker=".", label=f"{what}, {kind}")
    one = scaling.rows[0]
    places = sorted({row.devices for row in scaling.rows})
    ideal = [one.examples_per_second * n for n in places]
    speed.plot(places, ideal, ":", color="grey", label="in proportion")
    for axes, words in ((speed, "examples per second"), (parts, "ms of a step, at least")):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel("devices")
        axes.set_ylabel(words)
        axes.legend(fontsize=7)
    drawn.suptitle(f"{scaling.name} on {scaling.chip.name}: predicted", parse_math=False)
    write_figure(path, drawn)
