"""Variables of the environment that leave something out."""

from __future__ import annotations

import os

from jcnn.errors import UserError


def is_on(switch: str) -> bool:
    """Whether a variable says 1, or isn't set: 0 leaves out what it stands for.

    Raises:
        UserError: It says something else.
    """
    value = os.environ.get(switch, "1")
    if value not in ("", "0", "1"):
        raise UserError(f"{switch}: expected 0, which leaves it out, or 1; found '{value}'")
    return value != "0"
