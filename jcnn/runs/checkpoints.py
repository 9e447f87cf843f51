"""Checkpoints with Orbax: the training state, and what a run has spent so far."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np
import orbax.checkpoint as ocp

from jcnn.errors import UserError

KEEP = 3


def _is_no_chatter(record: logging.LogRecord) -> bool:
    """Keep what others than Orbax log through absl, and of Orbax what went wrong."""
    return record.levelno >= logging.ERROR or "orbax" not in record.pathname


class Checkpoints:
    """The checkpoints of one run, the last few of them; written behind the training."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        """Open the folder; a missing one is made unless ``read_only``."""
        if read_only and not folder.is_dir():
            raise UserError(f"'{folder}' does not exist: the run has no checkpoint")
        logging.getLogger("absl").addFilter(_is_no_chatter)
        self._folder = folder
        self._manager = ocp.CheckpointManager(
            folder.absolute(),
            options=ocp.CheckpointManagerOptions(max_to_keep=KEEP, read_only=read_only),
        )

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for what is being written, and close."""
        self._manager.close()

    def latest_step(self) -> int | None:
        """Return the step of the newest whole checkpoint, or None."""
        return self._manager.latest_step()

    def save(self, step: int, tree: Any, record: Mapping[str, Any]) -> None:
        """Write ``tree`` (arrays) and ``record`` (JSON) without waiting for the disk."""
        if step in self._manager.all_steps():
            return
        # The next step is given the state's buffers to write over.
        copied = jax.tree.map(np.array, tree)
        items = ocp.args.Composite(
            tree=ocp.args.StandardSave(copied), record=ocp.args.JsonSave(dict(record))
        )
        self._manager.save(step, args=items)

    def wait(self) -> None:
        """Wait until what was saved is on the disk."""
        self._manager.wait_until_finished()

    def record(self) -> dict[str, Any]:
        """Read the newest checkpoint's record.

        Raises:
            UserError: There is no checkpoint, or it is damaged.
        """
        return self._restore(record=ocp.args.JsonRestore())["record"]

    def restore(self, like: Any) -> Any:
        """Read the newest checkpoint's arrays.

        Args:
            like: A pytree of ``jax.ShapeDtypeStruct`` with the structure that was saved.

        Raises:
            UserError: There is no checkpoint, it is damaged, or it is of another model.
        """
        return self._restore(tree=ocp.args.StandardRestore(like))["tree"]

    def _restore(self, **items: Any) -> Any:
        step = self.latest_step()
        if step is None:
            raise UserError(f"'{self._folder}' holds no checkpoint: nothing was trained yet")
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**items))
        except Exception as error:  # Orbax and TensorStore raise whatever they meet
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise UserError(
                f"checkpoint '{self._folder / str(step)}' can't be read: {reason}"
            ) from error
