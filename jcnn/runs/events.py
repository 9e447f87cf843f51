"""TensorBoard's event files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self


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

    def write(self, split: str, step: int, means: Mapping[str, float]) -> None:
        """Write the metrics of one split."""
        for name, value in means.items():
            self._writer.add_scalar(f"{name}/{split}", value, step)
