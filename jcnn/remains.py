"""What a process must not leave behind where a signal ends it at once: temporary files, children.

Python's own way out, an exception that unwinds the stack, is not open then: one that a signal's
handler raises inside JAX's own callbacks is lost there, or ends the process with a crash.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # loaded where they are used: the command loads this before all else
    import subprocess
    from pathlib import Path

_ATTEMPTS, _PAUSE_SECONDS = 10, 0.02  # a child that was just killed may still write

_clearing: dict[object, Callable[[], object]] = {}


def register(clear: Callable[[], object]) -> Callable[[], None]:
    """Have ``clear`` called by :func:`clear_all`, until what is returned is called."""
    key = object()
    _clearing[key] = clear

    def forget() -> None:
        _clearing.pop(key, None)

    return forget


@contextmanager
def cleared(clear: Callable[[], object]) -> Iterator[None]:
    """Have ``clear`` called where the process is ended inside of this block."""
    forget = register(clear)
    try:
        yield
    finally:
        forget()


@contextmanager
def temporary_folder(parent: Path | None = None, prefix: str | None = None) -> Iterator[Path]:
    """Make a folder that is gone after the block, and after this process."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory(dir=parent, prefix=prefix) as name:
        folder = Path(name)
        with cleared(lambda: _remove(folder)):
            yield folder


@contextmanager
def child(command: list[str], **how: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a process that ends with the block, and with this process; what it started, too."""
    import subprocess

    process = subprocess.Popen(command, text=True, start_new_session=True, **how)
    try:
        with cleared(lambda: _kill(process)):
            yield process
    finally:
        _kill(process)
        process.wait()


def clear_all() -> None:
    """Clear what is registered, the newest first, and end the workers that read data."""
    for clear in reversed(list(_clearing.values())):
        with suppress(Exception):  # the process ends in any case
            clear()
    end_workers()


def end_workers() -> None:
    """End this process's worker processes."""
    if multiprocessing := sys.modules.get("multiprocessing"):
        for worker in multiprocessing.active_children():
            worker.kill()


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a process and those that it started, as the driver of a compiler does."""
    if process.poll() is not None:  # it has ended
        return
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _remove(folder: Path) -> None:
    import shutil

    for _ in range(_ATTEMPTS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(_PAUSE_SECONDS)
