"""Where a run stands, and how the checkpoint of that place is named."""

from __future__ import annotations

import re
from typing import NamedTuple

_NAME = re.compile(r"(\d+)(-evaluated)?")


class Place(NamedTuple):
    """Where a run stands: steps done, and whether the evaluation that is due there is done too.

    >>> str(Place(40)), str(Place(40, evaluated=True)), Place(40) < Place(40, evaluated=True)
    ('40', '40-evaluated', True)
    """

    step: int
    evaluated: bool = False

    def __str__(self) -> str:
        return f"{self.step}-evaluated" if self.evaluated else str(self.step)

    @classmethod
    def of(cls, name: str) -> Place | None:
        """Read the name of a checkpoint's folder; None where it is none."""
        match = _NAME.fullmatch(name)
        return cls(int(match[1]), match[2] is not None) if match else None
