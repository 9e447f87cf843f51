"""Which of many cases run with every test, and which only with the slow ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def slow_unless(
    quick: Callable[[Any], bool],
    values: Iterable[Any],
    name: Callable[[Any], str] = str,
    *,
    in_ci: bool = False,
) -> list[Any]:
    """Return parameters for ``pytest.mark.parametrize``; those not chosen are marked slow.

    They are cases like the chosen ones, and marked thorough too, unless ``in_ci`` says that they
    are to run with every change.
    """
    slow = (pytest.mark.slow,) if in_ci else (pytest.mark.slow, pytest.mark.thorough)
    return [pytest.param(v, id=name(v), marks=() if quick(v) else slow) for v in values]
