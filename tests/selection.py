"""Which of many cases run with every test, and which only with the slow ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def slow_unless(
    quick: Callable[[Any], bool], values: Iterable[Any], name: Callable[[Any], str] = str
) -> list[Any]:
    """Return parameters for ``pytest.mark.parametrize``; those not chosen are marked slow."""
    slow = (pytest.mark.slow,)
    return [pytest.param(v, id=name(v), marks=() if quick(v) else slow) for v in values]
