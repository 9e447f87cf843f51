"""The table that ``jcnn check`` prints."""

from __future__ import annotations

from typing import Any

from jcnn.console import styled, wide
from jcnn.inspection.check import ModelCheck
from jcnn.proof.comparison import NOTHING, Row


def print_check(check: ModelCheck) -> None:
    """Print a row for each tensor and oracle, and the verdict."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for column in ("", "tensor", "shape", "against"):
        table.add_column(column)
    for column in ("elements", "absolute", "relative", "worst at"):
        table.add_column(column, justify="right")
    for call, report in check.operations:
        table.add_section()
        table.add_row("", styled(call.op, "bold"), end_section=False)
        for row in report.rows:
            table.add_row(*_cells(row))
    table.add_section()
    table.add_row("", styled("the whole model", "bold"))
    for row in check.model.rows:
        table.add_row(*_cells(row))
    console = wide(110)
    console.print(table)
    for note in check.model.notes:
        console.print(note, style="yellow")
    if check.passed:
        console.print("every gradient agrees with every oracle", style="green")
    elif check.wrong is not None:
        console.print(f"the rule of {check.wrong.op} is wrong: {check.wrong}", style="red")
    elif not check.model.wrong:
        unseen = ", ".join(row.tensor for row in check.model.rows if row.shows_nothing)
        words = f"differences show nothing of {unseen}: all at kinks; try --random-batch"
        console.print(words if unseen else NOTHING, style="red")
    else:
        console.print("gradients disagree, though each operation alone is right", style="red")


def _cells(row: Row) -> tuple[Any, ...]:
    left_out = f", {row.left_out:,} at kinks left out" if row.left_out else ""
    return (
        styled(row.verdict, "red") if row.verdict == "FAIL" else row.verdict,
        row.tensor,
        "x".join(map(str, row.shape)) or "scalar",
        row.against,
        f"{row.elements:,}{left_out}",
        f"{row.absolute_error:.1e}",
        f"{row.relative_error:.1e}",
        ",".join(map(str, row.worst)),
    )
