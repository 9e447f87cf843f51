"""How many steps one dispatch takes."""

from __future__ import annotations

GROWTH = 8


class Pacer:
    """Chooses dispatches of about ``target_seconds``.

    Long enough that a small network is not bound by the dispatch, short enough that progress shows
    and an interruption is heard. The loop's trip count is an argument of the compiled program, so
    the choice changes no bit of the result.

    >>> pacer = Pacer("auto", target_seconds=0.5)
    >>> pacer.next(1000)
    1
    >>> pacer.took(steps=1, seconds=0.01)
    >>> pacer.next(1000)                      # grows by at most 8 times
    8
    >>> pacer.took(steps=8, seconds=0.08)
    >>> pacer.next(1000), pacer.next(10)
    (50, 10)
    """

    def __init__(self, steps: int | str, target_seconds: float = 0.5) -> None:
        """Take ``steps`` a dispatch, or choose them where that is "auto"."""
        self._fixed = steps if isinstance(steps, int) else None
        self._target_seconds = target_seconds
        self._steps = 1

    def next(self, remaining: int) -> int:
        """Return the steps of the next dispatch, at most ``remaining``."""
        return min(remaining, self._fixed or self._steps)

    def took(self, steps: int, seconds: float) -> None:
        """Learn from a finished dispatch."""
        wished = int(self._target_seconds * steps / max(seconds, 1e-9))
        self._steps = max(1, min(wished, GROWTH * max(steps, self._steps)))
