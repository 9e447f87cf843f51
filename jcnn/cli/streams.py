"""What a command writes to: a terminal, a pipe that closes, a full disk, nothing at all."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any
from unicodedata import bidirectional, category

# What turns the direction of writing, so that a name reads as another.
_TURNS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def prepare() -> None:
    """Make both streams take every character, and be there; where none is read from, be empty."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by who started this process
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif hasattr(stream, "reconfigure"):
            # names of classes in other scripts, where the terminal has ASCII alone
            stream.reconfigure(errors="backslashreplace")


def silence(stream: Any) -> None:
    """Send what is left in a stream, and what comes, nowhere: else Python complains at its end."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):  # a stream without a file: a test's
        pass


def is_broken_pipe(error: OSError) -> bool:
    """Whether nobody reads any more, as behind ``| head``."""
    return error.errno in (errno.EPIPE, errno.ESHUTDOWN) or isinstance(error, BrokenPipeError)


@contextmanager
def warnings_said() -> Iterator[None]:
    """Print what jcnn warns of while this is entered, in the form of its errors."""
    log, handler = logging.getLogger("jcnn"), _Said()
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def harmless(text: str) -> str:
    r"""Write out what a terminal would take for a command, but for ends of lines and tabs.

    >>> harmless("a\x1b[2J.png")
    'a\\x1b[2J.png'
    """

    def commands(c: str) -> bool:
        return c not in "\n\t" and (category(c) in ("Cc", "Cs") or bidirectional(c) in _TURNS)

    return "".join(c.encode("unicode_escape").decode() if commands(c) else c for c in text)


class _Said(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print(f"jcnn: {harmless(record.getMessage())}", file=sys.stderr, flush=True)


class Patient:
    """A stream for progress: training goes on when nobody reads it, or it can't be written."""

    def __init__(self, stream: IO[str]) -> None:
        """Write to ``stream`` as long as that works."""
        self._stream = stream
        self.failure: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        """Be like the stream in all else."""
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or don't."""
        return self._attempt(lambda: self._stream.write(text)) or len(text)

    def flush(self) -> None:
        """Flush, or don't."""
        self._attempt(self._stream.flush)

    def _attempt(self, act: Any) -> Any:
        if self.failure is not None:
            return None
        try:
            return act()
        except OSError as error:
            self.failure = error
            silence(self._stream)
            return None
