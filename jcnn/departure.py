"""How the command leaves on a signal: at once, with one line, and with nothing left behind.

The handler leaves by itself. It raises nothing: where Python runs it inside JAX's own callbacks, an
exception is lost, or crashes the process. And where Python can't run it, because the main thread
compiles or computes, another thread leaves in its place.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from jcnn import remains
from jcnn.signals import SIGNALS, Wakeups

GRACE_SECONDS = 0.5  # for the main thread to come to its next instruction


class Departure:
    """Ends the process on a signal, unless something else has taken the signal since.

    Attributes:
        words: What is said then.
    """

    def __init__(self) -> None:
        """Take no signals yet."""
        self.words = "stopped"
        self._begun, self._asked = threading.Lock(), False
        self._owner: int | None = None

    def watch(self) -> None:
        """Take the signals that nobody has taken; what is ignored (nohup) stays so."""
        if self._owner or threading.current_thread() is not threading.main_thread():
            return
        self._owner = os.getpid()
        for number in SIGNALS:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, self._note)
        threading.Thread(target=self._watch, args=(Wakeups(),), daemon=True).start()
        _release()

    def _note(self, number: int, _: FrameType | None) -> NoReturn:
        """Leave from the main thread, which does nothing else any more."""
        if self._asked or os.getpid() != self._owner:  # the second signal, or a forked worker
            os._exit(128 + number)
        self._asked = True
        with suppress(Exception):  # it may be interrupted in the midst of writing
            sys.stdout.flush()
        self._depart(number)
        while True:  # the other thread is leaving
            time.sleep(1)

    def _watch(self, wakeups: Wakeups) -> None:
        """Leave in the main thread's place, and at once at the second signal."""
        hold()  # so that it is the main thread that a signal interrupts
        asked = False
        while (number := wakeups.next()) is not None:
            time.sleep(GRACE_SECONDS)
            if signal.getsignal(number) != self._note:
                continue  # somebody else's, as a server's
            if asked:
                os._exit(128 + number)
            asked = True
            self._depart(number)

    def _depart(self, number: int) -> None:
        """End the process; return where another thread does."""
        if not self._begun.acquire(blocking=False):
            return
        with suppress(OSError):
            os.write(2, f"{self.words}\n".encode())
        remains.clear_all()
        os._exit(128 + number)


departure = Departure()


def hold() -> None:
    """Let signals wait, until :meth:`Departure.watch`; also across the start of a program."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _release() -> None:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
