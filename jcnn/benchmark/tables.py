"""A benchmark as a table: on the terminal, and in Markdown for the documentation."""

from __future__ import annotations

from jcnn.benchmark.rows import COLUMNS, PEER, THEIRS, Benchmark, Row
from jcnn.console import wide
from jcnn.errors import counted
from jcnn.runs.environment import hardware

_OTHERS = (THEIRS, PEER)


def print_benchmark(benchmark: Benchmark) -> None:
    """Print the rows, and what they were measured with."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=benchmark.name, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("what", min_width=44)
    for column in _headings(benchmark):
        table.add_column(column, justify="right", no_wrap=True)
    for row in benchmark.rows:
        table.add_row(row.what, *_cells(benchmark, row))
    console = wide(160, highlight=False)
    console.print(table)
    for line in _explanation(benchmark):
        console.print(line, style="dim")


def markdown(benchmark: Benchmark) -> str:
    """Return the table in Markdown, under the hardware, the versions and the date."""
    found = hardware()
    versions = ", ".join(f"{name} {version}" for name, version in benchmark.versions.items())
    document = benchmark.to_dict()
    headings = ["what", *_headings(benchmark)]
    where = (
        f"{counted(int(found['cores']), 'core')} of {found['processor']} ({found['instructions']})"
    )
    how = [f"allocator {document['allocator']}"]
    how += ["compiled loops"] if found["native"] else []
    how += [f"{name}={value}" for name, value in document["compiler_options"].items()]
    lines = [
        f"{where}, {found['device']}; {versions}; {'; '.join(how)}; {document['date']}.",
        "",
        f"| {' | '.join(headings)} |",
        f"|---|{'---:|' * (len(headings) - 1)}",
    ]
    for row in benchmark.rows:
        cells = [row.what + (f" ({row.note})" if row.note else ""), *_cells(benchmark, row)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_explanation(benchmark, notes=False)])


def _columns(benchmark: Benchmark) -> list[str]:
    return [c for c in COLUMNS if c != PEER or benchmark.torch]


def _headings(benchmark: Benchmark) -> list[str]:
    others = [c for c in _columns(benchmark) if c in _OTHERS]
    return ["unit", *_columns(benchmark), *(f"{name}/jcnn" for name in others), "n"]


def _cells(benchmark: Benchmark, row: Row) -> list[str]:
    values = [_value(row, column) for column in _columns(benchmark)]
    others = [c for c in _columns(benchmark) if c in _OTHERS]
    ratios = [f"{row.ratio[c]:.2f}" if c in row.ratio else "" for c in others]
    spreads = [row.spread[c] for c in _columns(benchmark) if c in row.spread]
    counts = ", ".join(str(int(s["n"])) for s in spreads)
    return [row.unit, *values, *ratios, counts]


def _value(row: Row, column: str) -> str:
    """The median, and its quartiles where there are more samples than one."""
    value, spread = figure(row.values.get(column)), row.spread.get(column)
    if spread is None or spread["n"] == 1:
        return value
    return f"{value} ({figure(spread['q1'])}–{figure(spread['q3'])})"


def figure(value: float | None) -> str:
    """Write a figure with three digits or more.

    >>> figure(0.01234), figure(12.34), figure(99.97), figure(1234.5), figure(None)
    ('0.0123', '12.3', '100', '1,234', '')
    """
    if value is None:
        return ""
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:#.3g}"


def _explanation(benchmark: Benchmark, *, notes: bool = True) -> list[str]:
    lines = [
        "Medians (quartiles) of n interleaved samples, n in the columns' order. "
        "Ratio: the other's figure over jcnn's, larger is better."
    ]
    remarks = [f"{row.what}: {row.note}." for row in benchmark.rows if row.note and notes]
    return [*lines, *benchmark.notes, *remarks]
