"""Where tables are printed."""

from __future__ import annotations

from typing import Any

_UNBOUNDED = 100_000


def wide(least: int, **options: Any) -> Any:
    """Return a Rich console that cuts no figure.

    On a terminal it is ``least`` columns wide or more, so that a narrow one breaks lines; a pipe or
    a file has no width to which lines had to be fitted.
    """
    from rich.console import Console

    console = Console(**options)
    console.width = max(console.width, least) if console.file.isatty() else _UNBOUNDED
    return console
