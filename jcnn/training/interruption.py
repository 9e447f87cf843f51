"""Ctrl-C and SIGTERM as a request that training grants at its next safe point."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self


class Interrupted(Exception):  # noqa: N818 (a request that was granted, not an error)
    """Training stopped on request, after writing a checkpoint.

    Attributes:
        step: Steps done.
        signal_number: What asked for it; a shell expects the exit code 128 + this.
    """

    def __init__(self, step: int, signal_number: int) -> None:
        """Remember where and why."""
        super().__init__(f"stopped after step {step}")
        self.step = step
        self.signal_number = signal_number


class Interruption:
    """Notes the first SIGINT or SIGTERM while entered; a second one acts at once, as without it.

    Outside the main thread Python delivers no signals, and this only stays False.
    """

    def __init__(self) -> None:
        """Note nothing yet."""
        self.signal_number: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Take both signals."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Give them back."""
        self._restore()

    def _note(self, number: int, _: FrameType | None) -> None:
        self.signal_number = number
        self._restore()

    def _restore(self) -> None:
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler)

    def check(self, step: int) -> None:
        """Raise :class:`Interrupted` if a signal came; call it where a checkpoint is written."""
        if self.signal_number is not None:
            raise Interrupted(step, self.signal_number)
