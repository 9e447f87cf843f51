"""Where tables are printed, and how far long work has come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

_UNBOUNDED = 100_000
T = TypeVar("T")


def wide(least: int, **options: Any) -> Any:
    """Return a Rich console that cuts no figure.

    On a terminal it is ``least`` columns wide or more, so that a narrow one breaks lines; a pipe or
    a file has no width to which lines had to be fitted. What is printed is text: names and values
    may have brackets and colons, of which markup would lose some, or fail; see :func:`styled`.
    """
    from rich.console import Console

    console = Console(markup=False, emoji=False, **options)
    console.width = max(console.width, least) if console.file.isatty() else _UNBOUNDED
    return console


def styled(text: str, style: str) -> Any:
    """Return a text in one of Rich's styles, for a cell or a line."""
    from rich.text import Text

    return Text(text, style=style)


def shown(items: Iterable[T], count: int) -> Iterable[T]:
    """Yield the items, and on a terminal show how many of ``count`` have come, until the last."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    hidden = not console.is_terminal
    return track(items, "", count, console=console, transient=True, disable=hidden)
