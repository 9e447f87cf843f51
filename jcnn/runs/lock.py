"""One training at a time in a folder; a dead process holds nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from jcnn.errors import UserError
from jcnn.runs.files import writing
from jcnn.runs.run import Run


@contextmanager
def locked(run: Run) -> Iterator[None]:
    """Hold a run's folder, which is made where it isn't there.

    The system gives the lock back when its process ends, whichever way.

    Raises:
        UserError: Another process trains into the folder, or it can't be written.
    """
    with writing(f"output folder '{run.folder}'"):
        run.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(run.folder / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise UserError(
                f"'{run.folder}' is being trained by another process; wait for it, or end it first"
            ) from None
    try:
        yield
    finally:
        lock.release()
