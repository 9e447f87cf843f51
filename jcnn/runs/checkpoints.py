"""A run's checkpoints: the newest ones and the best, written behind the training."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from jcnn.errors import UserError
from jcnn.runs import checkpoint
from jcnn.runs.files import writing
from jcnn.runs.parts import Arrays, Single, Writers, is_spread, own_parts
from jcnn.runs.place import Place

KEEP = 3
_NONE_YET = "the run has kept no checkpoint yet, or stopped before its first"


class Checkpoints:
    """The checkpoints in a folder, each named after its place.

    Attributes:
        write_seconds: How long the last one took to write.
    """

    def __init__(
        self, folder: Path, *, read_only: bool = False, writers: Writers | None = None
    ) -> None:
        """Open the folder; a missing one is made unless ``read_only``.

        Where another of the ``writers`` makes it, it may be on a disk that this one doesn't see.

        Args:
            folder: Where they lie.
            read_only: Leave damaged ones where they are, and write none.
            writers: The processes that write together, each the parts of arrays that it holds. All
                but the first read only, apart from that.

        Raises:
            UserError: There is no folder to read alone, or it can't be made.
        """
        if read_only and writers is None and not folder.is_dir():
            raise UserError(f"'{folder}' does not exist: {_NONE_YET}")
        self._folder, self._read_only = folder, read_only
        self._writers = writers or Single()
        self.write_seconds = 0.0
        self._writer = ThreadPoolExecutor(1, "checkpoints")
        self._writing: Future[None] | None = None
        if not read_only:
            with writing(f"'{folder}'"):
                folder.mkdir(exist_ok=True)
            for unfinished in folder.glob(".*.partial"):
                shutil.rmtree(unfinished, ignore_errors=True)

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for what is being written."""
        self._writer.shutdown()

    @property
    def is_there(self) -> bool:
        """Whether this process sees the folder."""
        return self._folder.is_dir()

    def places(self) -> list[Place]:
        """Return the places of all checkpoints, the newest first, damaged ones too."""
        found = (Place.of(path.name) for path in self._folder.iterdir())
        return sorted((place for place in found if place is not None), reverse=True)

    def newest(self) -> Place | None:
        """Return the newest undamaged checkpoint's place, or None; damaged ones are set aside.

        Each damaged one is named in one line of the log.
        """
        for place in self.places():
            wrong = checkpoint.damage(self._folder / str(place))
            if wrong is None:
                return place
            self._set_aside(place, wrong)
        return None

    def best(self) -> Place | None:
        """Return the place of the best by the test metric, where that is kept and undamaged."""
        newest = self.newest()
        name = newest and self.record(newest).get("best")
        best = Place.of(name) if name else None
        if best is None:
            return None
        wrong = checkpoint.damage(self._folder / str(best))
        if wrong is not None:
            self._set_aside(best, wrong)
        return best if wrong is None else None

    def record(self, place: Place) -> dict[str, Any]:
        """Read a checkpoint's record."""
        return checkpoint.read_record(self._folder / str(place))

    def restore(self, place: Place | None, like: Any) -> Any:
        """Read a checkpoint's arrays.

        Args:
            place: One that :meth:`newest` or :meth:`best` gave.
            like: A pytree of ``jax.ShapeDtypeStruct`` with the structure that was saved.

        Raises:
            UserError: There is none, or this process doesn't see it, or it is of another model.
        """
        if place is None:
            if any(entry.name[0] != "." for entry in self._folder.iterdir()):
                raise UserError(f"'{self._folder}' holds no undamaged checkpoint")
            raise UserError(f"'{self._folder}' is empty: {_NONE_YET}")
        if not (self._folder / str(place)).is_dir():
            raise UserError(
                f"checkpoint '{self._folder / str(place)}' does not exist here: expected a run's "
                "folder that all processes see"
            )
        return checkpoint.read_arrays(self._folder / str(place), like)

    def save(self, place: Place, tree: Any, record: Mapping[str, Any]) -> None:
        """Write ``tree`` (arrays) and ``record`` (JSON) without waiting for the disk.

        Where arrays lie on the devices of several processes, all of them must call this. Older ones
        than the last few are removed afterwards, but for the one whose name is
        ``record["best"]``.

        Raises:
            UserError: The one before could not be written.
        """
        together = self._writers if is_spread(tree) else None
        if self._read_only and not together:
            return
        self.wait()
        # The next step is given the state's buffers to write over.
        copied = own_parts(tree, self._writers.index)
        self._writing = self._writer.submit(self._write, place, copied, dict(record), together)

    @property
    def busy(self) -> bool:
        """Whether one is being written."""
        return self._writing is not None and not self._writing.done()

    def wait(self) -> None:
        """Wait until what was saved is on the disk.

        Raises:
            UserError: It could not be written; those before it are untouched.
        """
        if self._writing is not None:
            underway, self._writing = self._writing, None
            underway.result()

    def _write(
        self, place: Place, arrays: Arrays, record: dict[str, Any], writers: Writers | None
    ) -> None:
        before = time.perf_counter()
        with writing(f"checkpoint '{self._folder / str(place)}'"):
            checkpoint.write(self._folder / str(place), arrays, record, writers)
        for old in () if self._read_only else self.places()[KEEP:]:
            if str(old) != record.get("best"):
                self._remove(old)
        self.write_seconds = time.perf_counter() - before

    def _remove(self, place: Place) -> None:
        """Hide it first, so that no half of it is ever taken for a damaged one."""
        hidden = self._folder / f".{place}.partial"
        shutil.rmtree(hidden, ignore_errors=True)
        with suppress(OSError):
            (self._folder / str(place)).rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)

    def _set_aside(self, place: Place, wrong: str) -> None:
        folder, left = self._folder / str(place), "left alone"
        if not self._read_only:
            number = 1
            while (aside := self._folder / f"damaged-{place}-{number}").exists():
                number += 1
            with writing(f"'{aside}'"):
                folder.rename(aside)
            left = f"set aside as {aside.name}"
        logging.getLogger("jcnn").warning(
            "checkpoint '%s' is damaged and was %s: %s", folder, left, wrong
        )
