"""What happens to a training in its midst."""

from __future__ import annotations

import os
import signal
from typing import Any

from jcnn.training.progress import Progress


class At(Progress):
    """Does something when a step is reached."""

    def __init__(self, step: int, action: Any) -> None:
        self._step, self._action = step, action

    def stepped(self, step: int, means: Any, images_per_second: float) -> None:
        if step >= self._step:
            self._action()


def interrupt(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


def crash() -> None:
    raise RuntimeError("power cut")
