"""TensorBoard's event files."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from jcnn.runs.files import writing

BINS = 64


class Events:
    """Scalars by split and step, for TensorBoard.

    They are written at once and by the caller's thread, so that a full disk is said once, in a
    sentence, instead of by a thread in a traceback.
    """

    def __init__(self, folder: Path, *, from_step: int) -> None:
        """Open a new file in ``folder``; what others hold from ``from_step`` on is void."""
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto import event_pb2

        self._kinds: Any = event_pb2  # its classes are made when it is loaded
        self._folder = folder
        with self._named():
            folder.mkdir(exist_ok=True)
            self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}")
            start = self._kinds.SessionLog(status=self._kinds.SessionLog.START)
            # TensorBoard forgets what a run wrote beyond the checkpoint that it goes on from.
            self._add(step=from_step, session_log=start)
            self._writer.flush()

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is left, and close."""
        with self._named():
            self._writer.close()

    def histograms(self, kind: str, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Write a histogram of each array's finite values, under ``kind/name``."""
        from tensorboardX.summary import histogram

        with self._named():
            for name, array in arrays.items():
                values = array[np.isfinite(array)].ravel()
                if values.size:
                    made = histogram(f"{kind}/{name}", values, BINS)
                    self._add(step=step, summary=made)

    def filters(self, step: int, kernel: np.ndarray) -> None:
        """Write a first layer's kernels (height, width, channels, features) as one image."""
        from tensorboardX.summary import image

        low, high = kernel.min(), kernel.max()
        scaled = (kernel - low) / max(high - low, np.finfo(np.float32).tiny)
        if scaled.shape[2] != 3:
            scaled = scaled.mean(axis=2, keepdims=True)
        side = math.ceil(math.sqrt(scaled.shape[3]))
        height, width = scaled.shape[:2]
        whole = np.zeros((side * (height + 1), side * (width + 1), 3), np.float32)
        for number in range(scaled.shape[3]):
            row, column = divmod(number, side)
            top, left = row * (height + 1), column * (width + 1)
            whole[top : top + height, left : left + width] = scaled[..., number]
        with self._named():
            self._add(step=step, summary=image("filters", whole, dataformats="HWC"))

    def write(self, split: str, step: int, means: Mapping[str, float]) -> None:
        """Write the metrics of one split."""
        from tensorboardX.summary import scalar

        with self._named():
            for name, value in means.items():
                self._add(step=step, summary=scalar(f"{name}/{split}", value))
            self._writer.flush()

    def _add(self, **content: Any) -> None:
        self._writer.write_event(self._kinds.Event(wall_time=time.time(), **content))

    def _named(self) -> Any:
        return writing(f"'{self._folder}'")
