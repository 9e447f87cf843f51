"""The ratios of a benchmark as bars."""

from __future__ import annotations

from pathlib import Path

from jcnn.benchmark.rows import PEER, THEIRS, Benchmark
from jcnn.errors import UserError
from jcnn.runs.files import check_place, write_figure, writing

_COLOURS = {THEIRS: "#4c72b0", PEER: "#dd8452"}
_BAR_INCHES = 0.28


def check_plot(path: Path) -> None:
    """Refuse, before anything is measured, a file that could not be written afterwards."""
    from matplotlib.figure import Figure

    known = Figure().canvas.get_supported_filetypes()
    if path.suffix.lstrip(".") not in known:
        raise UserError(
            f"--plot {path}: expected a name that ends in one of {', '.join(sorted(known))}, "
            f"found '{path.suffix}'"
        )
    if not path.parent.is_dir():
        raise UserError(f"--plot {path}: expected an existing folder, and {path.parent} is none")
    with writing(f"--plot {path}"):
        check_place(path)


def save_plot(benchmark: Benchmark, path: Path) -> None:
    """Draw the ratios on a logarithmic axis, 1 being as fast as jcnn."""
    from matplotlib.figure import Figure

    rows = [row for row in benchmark.rows if row.ratio]
    figure = Figure(figsize=(10, 1.5 + 2 * _BAR_INCHES * max(len(rows), 1)), layout="constrained")
    axes = figure.subplots()
    columns = [c for c in _COLOURS if any(c in row.ratio for row in rows)]
    height = 0.8 / max(len(columns), 1)
    for number, column in enumerate(columns):
        places = [
            (k + number * height, r.ratio[column]) for k, r in enumerate(rows) if column in r.ratio
        ]
        bars = axes.barh(
            [place for place, _ in places],
            [ratio - 1 for _, ratio in places],
            height,
            left=1,
            label=f"{column} / jcnn",
            color=_COLOURS[column],
        )
        axes.bar_label(bars, labels=[f"{ratio:.2f}" for _, ratio in places], padding=3, fontsize=7)
    axes.set_yticks([k + 0.4 - height / 2 for k in range(len(rows))], [row.what for row in rows])
    axes.tick_params(axis="y", labelsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.margins(x=0.15)
    axes.set_xlabel("ratio, larger is better for jcnn")
    axes.set_title(benchmark.name, parse_math=False)
    if columns:
        axes.legend(loc="lower right")
    write_figure(path, figure)
