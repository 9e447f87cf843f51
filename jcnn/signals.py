"""Signals that ask a process to end, as the system notes them.

Python runs a signal's handler only between two of its own instructions, so not while XLA compiles
or a disk doesn't answer; but a signal is written into a pipe at once.
"""

from __future__ import annotations

import os
import signal

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Wakeups:
    """The pipe into which each signal is written; made, and ended, in the main thread."""

    def __init__(self) -> None:
        """Begin to listen in the place of who listened before."""
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)

    def next(self) -> int | None:
        """Wait for the next signal of ours, in a thread; None, once, where this was ended."""
        while byte := os.read(self._reading, 1):
            if byte[0] in SIGNALS:
                return byte[0]
        os.close(self._reading)
        return None

    def end(self) -> None:
        """Give the signals back to who listened before."""
        signal.set_wakeup_fd(self._before)
        os.close(self._writing)
