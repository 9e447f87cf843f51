"""A verification as a table: each kill, what was compared, and the verdict."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from jcnn.errors import counted
from jcnn.inspection.verification import Kill, Verification
from jcnn.runs.environment import described


def print_verification(v: Verification) -> None:
    """Print the kills, what was compared, and the verdict."""
    console = Console(highlight=False, markup=False)
    console.print(_table(v.kills))
    console.print(f"{described(v.hardware, v.versions)}; {v.seconds:.0f} s", soft_wrap=True)
    console.print(
        f"{counted(v.steps, 'step')}, undisturbed and with {counted(len(v.kills), 'kill')}, "
        f"{v.shown} of them while it trained: "
        f"compared {counted(v.tensors, 'tensor')} of {v.values:,} numbers, and "
        f"{counted(v.rows, 'row')} of metrics",
        soft_wrap=True,
    )
    console.print(_verdict(v), style="green" if v.passed else "red", soft_wrap=True)


def _table(kills: tuple[Kill, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("kill", "after", "while", "exit code", "resumable from", "lost at most"):
        table.add_column(column, justify="right")
    for kill in kills:
        after, lost = (f"{seconds:.1f} s" for seconds in (kill.seconds, kill.lost_seconds))
        table.add_row(
            kill.signal, after, kill.phase, str(kill.exit_code), f"step {kill.step}", lost
        )
    return table


def _verdict(v: Verification) -> str:
    if v.passed:
        return "every bit is the same"
    if v.differences:
        return f"these differ: {', '.join(v.differences)}"
    return (
        "no kill fell into the training, so nothing is shown: expected one that takes longer "
        "(training.epochs), or more kills (--kills)"
    )
