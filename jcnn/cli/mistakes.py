"""What a command says in one sentence of an error, in place of a traceback."""

from __future__ import annotations

import sys

from jcnn.cli import process, streams
from jcnn.errors import UserError, system_words

BROKEN_PIPE = 13  # SIGPIPE's number, which Windows has not
_LONGEST_WORD = 240


def sentence_of(error: Exception) -> str | None:
    """Say what the user, or who keeps the machine, can mend; None for a fault of the code."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        place = f"'{error.filename}': " if error.filename is not None else ""
        return f"{place}{system_words(error)}"
    if isinstance(error, ModuleNotFoundError):
        if (error.name or "jcnn").startswith("jcnn"):
            return None
        return (
            f"this command needs the package '{error.name}', which is not installed: "
            "pip install 'jcnn[experiments]'"
        )
    return process.memory_mistake(error) or process.platform_mistake(error)


def is_unread(error: BaseException | None) -> bool:
    """Whether the reader of what is printed has gone."""
    return isinstance(error, OSError) and streams.is_broken_pipe(error)


def leave_unread() -> int:
    """Print nothing more; return the exit code of a command whose reader has gone."""
    streams.silence(sys.stdout)
    return 128 + BROKEN_PIPE


def shortened(sentence: str) -> str:
    r"""Put a sentence into one line; of a word of thousands of letters, take both ends.

    >>> shortened("unknown\n" + 300 * "x")[:20], len(shortened(300 * "x"))
    ('unknown xxxxxxxxxxxx', 123)
    """
    words = (w if len(w) <= _LONGEST_WORD else f"{w[:80]}...{w[-40:]}" for w in sentence.split())
    return " ".join(words)
