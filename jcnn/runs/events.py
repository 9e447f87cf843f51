"""TensorBoard's event files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np


class Events:
    """Scalars by split and step, for TensorBoard."""

    def __init__(self, folder: Path, *, from_step: int) -> None:
        """Open a new file in ``folder``; what others hold from ``from_step`` on is void."""
        from tensorboardX import SummaryWriter

        # TensorBoard forgets what a run wrote beyond the checkpoint that it goes on from.
        self._writer = SummaryWriter(str(folder), purge_step=from_step or None)

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is left, and close."""
        self._writer.close()

    def histograms(self, kind: str, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Write a histogram of each array's finite values, under ``kind/name``."""
        for name, array in arrays.items():
            values = array[np.isfinite(array)]
            if values.size:
                self._writer.add_histogram(f"{kind}/{name}", values.ravel(), step)

    def filters(self, step: int, kernel: np.ndarray) -> None:
        """Write a first layer's kernels (height, width, channels, features) as one image."""
        low, high = kernel.min(), kernel.max()
        scaled = (kernel - low) / max(high - low, np.finfo(np.float32).tiny)
        if scaled.shape[2] != 3:
            scaled = scaled.mean(axis=2, keepdims=True)
        side = math.ceil(math.sqrt(scaled.shape[3]))
        image = np.zeros((side * (scaled.shape[0] + 1), side * (scaled.shape[1] + 1), 3))
        for number in range(scaled.shape[3]):
            down, right = (
                k * (n + 1) for k, n in zip(divmod(number, side), scaled.shape[:2], strict=True)
            )
            place = np.s_[down : down + scaled.shape[0], right : right + scaled.shape[1]]
            image[place] = scaled[..., number]
        self._writer.add_image("filters", image, step, dataformats="HWC")

    def write(self, split: str, step: int, means: Mapping[str, float]) -> None:
        """Write the metrics of one split."""
        for name, value in means.items():
            self._writer.add_scalar(f"{name}/{split}", value, step)
