"""What a model is made of: shapes, parameters, connections, units, operations."""

from __future__ import annotations

from math import prod
from typing import Any

from jcnn.axes import times
from jcnn.config import Experiment
from jcnn.console import wide
from jcnn.layers import Cost, Residual, Sequence, Shape, fully_connected_parameters


def summarize(experiment: Experiment) -> dict[str, Any]:
    """Count what the model of an experiment is made of.

    Args:
        experiment: What :func:`jcnn.load_experiment` gave.

    Returns:
        ``name``, ``data``, ``input_shape``, the totals ``parameters``, ``connections``, ``units``
        (the input's values are units too), ``flops``, and ``layers``: for each its ``name``,
        ``type``, ``output_shape``, ``parameters``, ``connections``, ``units``, ``flops`` and
        ``fully_connected_parameters``, what a dense layer from its input to its output would have,
        biases included (None for layers without weighted sums). A residual block has the rows of
        its own layers under ``layers`` and ``shortcut``.
    """
    shape = experiment.input_shape
    total = experiment.model.cost(shape) + Cost(units=prod(shape))
    return {
        "name": experiment.name,
        "data": experiment.data.name,
        "input_shape": list(shape),
        **_counts(total),
        "layers": _rows(experiment.model, shape),
    }


def _rows(sequence: Sequence, input_shape: Shape) -> list[dict[str, Any]]:
    rows = []
    for name, layer, before, after in sequence.walk(input_shape):
        cost = layer.cost(before)
        dense = fully_connected_parameters(before, after) if cost.connections else None
        row = {
            "name": name,
            "type": layer.type,
            "output_shape": list(after),
            **_counts(cost),
            "fully_connected_parameters": dense,
        }
        if isinstance(layer, Residual):
            row |= {path: _rows(branch, before) for path, branch in layer.branches().items()}
        rows.append(row)
    return rows


def _counts(cost: Cost) -> dict[str, int]:
    return {
        "parameters": cost.parameters,
        "connections": cost.connections,
        "units": cost.units,
        "flops": cost.flops,
    }


def print_summary(summary: dict[str, Any]) -> None:
    """Print what :func:`summarize` gave as a table."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    shape = times(tuple(summary["input_shape"]))
    title = f"{summary['name']}: {summary['data']}, {shape}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("layer")
    for column in ("output", "parameters", "connections", "units", "flops", "fully connected"):
        table.add_column(column, justify="right")
    _add_rows(table, summary["layers"], depth=0)
    table.add_section()
    table.add_row("total", "", *_cells(summary), "")
    console = wide(120)
    console.print(table)
    console.print(
        "'fully connected' is what a dense layer between the same shapes would have in parameters; "
        f"units include the {prod(summary['input_shape']):,} of the input, "
        "flops are forward, for one example.",
        style="dim",
    )


def _add_rows(table: Any, rows: list[dict[str, Any]], depth: int) -> None:
    for row in rows:
        dense = row["fully_connected_parameters"]
        table.add_row(
            "  " * depth + row["name"],
            times(tuple(row["output_shape"])),
            *_cells(row),
            "" if dense is None else f"{dense:,}",
        )
        for path in ("layers", "shortcut"):
            _add_rows(table, row.get(path, []), depth + 1)


def _cells(counts: dict[str, Any]) -> list[str]:
    keys = ("parameters", "connections", "units", "flops")
    return [f"{counts[key]:,}" if counts[key] else "" for key in keys]
