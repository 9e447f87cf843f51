"""The one exception for what a user can mend, and the hint at the nearest known name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what the user gave: a key, a layer, a file.

    The message is one sentence that names the place, says what was expected and what was found.
    The command line prints it and ends with exit code 2.
    """


def nearest(word: str, known: Iterable[str]) -> str:
    """Hint at the known name closest to ``word``.

    >>> nearest("epoch", ["epochs", "batch_size"])
    " (did you mean 'epochs'?)"
    >>> nearest("adma", ["adamax", "adam"])
    " (did you mean 'adam'?)"
    >>> nearest("zzz", ["epochs"])
    ''
    """
    matches = difflib.get_close_matches(word, list(known), n=5)
    if not matches:
        return ""
    # of several, one of the word's own length: a slip of the finger rarely adds letters
    return f" (did you mean '{min(matches, key=lambda match: abs(len(match) - len(word)))}'?)"


def unknown(word: str, known: Iterable[str]) -> str:
    """Say that a word is none of the known ones, and name the nearest, or all.

    >>> unknown("relo", ["relu", "tanh"]), unknown("x", ["relu", "tanh"])
    ("unknown 'relo' (did you mean 'relu'?)", "unknown 'x'; known are relu, tanh")
    """
    known = list(known)
    return f"unknown '{word}'" + (nearest(word, known) or f"; known are {', '.join(known)}")
