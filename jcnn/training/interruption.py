"""SIGINT, SIGTERM and SIGHUP as a request that training grants at its next safe point.

A command grants it within seconds in any case: where the training does not come to a safe point by
itself, as while XLA compiles, a thread that hears of the signal saves and leaves in its place.
"""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

from jcnn.signals import SIGNALS, Wakeups

GRACE_SECONDS = 2.0  # for the training to come to a safe point
RESCUE_SECONDS = 2.5  # for another thread to save in its place

# Called to end the process; told where training stands (None: it hasn't begun), and the signal.
Leave = Callable[[int | None, int], None]


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
    """Notes the first signal while entered.

    With ``leave``, a process ends within seconds of it, and at once at a second one. Without, as in
    a notebook, training ends at its next safe point, and a second one acts as if this weren't here.
    Signals that are ignored when it is entered (``nohup``) stay ignored; outside the main thread
    Python delivers none, and this only stays False.

    Attributes:
        signal_number: The first signal's number, or None.
        rescue: Saves what can be saved, from any thread, and returns the step; set by a training
            that has something to save.
        saving: Held by whoever saves because of a signal.
    """

    def __init__(self, leave: Leave | None = None) -> None:
        """Note nothing yet."""
        self.signal_number: int | None = None
        self.rescue: Callable[[], int] | None = None
        self.saving = threading.Lock()
        self._leave = leave
        self._noted, self._departing, self._over = False, threading.Lock(), threading.Event()
        self._previous: dict[int, Any] = {}
        self._wakeups: Wakeups | None = None

    def __enter__(self) -> Self:
        """Take the signals."""
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._note)
        if self._leave is not None and self._previous:
            self._wakeups = Wakeups()
            arguments = (self._wakeups,)
            self._watcher = threading.Thread(target=self._watch, args=arguments, daemon=True)
            self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give them back."""
        self._restore()
        if self._wakeups is not None:
            self._wakeups.end()  # ends the thread
            self._wakeups = None
            self._over.set()
            self._watcher.join()

    def _note(self, number: int, _: FrameType | None) -> None:
        """Do what the thread does too, for a signal that another event loop's pipe has taken."""
        again, self.signal_number = self.signal_number, self.signal_number or number
        if self._leave is None:
            self._restore()
        elif again and self._noted:
            self._leave(None, again)
        else:
            self._noted = True
            self._begin_departure(number)

    def _restore(self) -> None:
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler)

    def _watch(self, wakeups: Wakeups) -> None:
        """Wait for the first signal, leave in any case soon after, and at once at the second."""
        assert self._leave is not None
        first = wakeups.next()
        if first is not None:
            self._begin_departure(first)
            if wakeups.next() is not None:
                self._leave(None, first)

    def _begin_departure(self, number: int) -> None:
        """Begin it once, from a handler too, where a lock might be held already."""
        if self._departing.acquire(blocking=False):
            _thread.start_new_thread(self._depart, (number,))

    def _depart(self, number: int) -> None:
        assert self._leave is not None
        self.signal_number = self.signal_number or number
        saved: list[int] = []
        if self.rescue is not None:
            self._over.wait(GRACE_SECONDS)
            rescuer = threading.Thread(target=self._save, args=(saved,), daemon=True)
            rescuer.start()
            rescuer.join(RESCUE_SECONDS)
        if self._wakeups is not None:
            self._leave(saved[0] if saved else None, number)

    def _save(self, saved: list[int]) -> None:
        """Save in the training's place, again and again where it uses what is being read."""
        with self.saving:
            while self.rescue is not None and not saved and not self._over.is_set():
                try:
                    saved.append(self.rescue())
                except Exception:  # its buffers were given to the next step, …
                    self._over.wait(0.05)
