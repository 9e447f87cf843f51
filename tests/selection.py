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
    in_ci: bool | Callable[[Any], bool] = False,
) -> list[Any]:
    """Return parameters for ``pytest.mark.parametrize``; those not chosen are marked slow.

    They are cases like the chosen ones, and marked thorough too, unless ``in_ci`` says that they
    are to run with every change, or of which ones.
    """

    def marks(value: Any) -> tuple[Any, ...]:
        if quick(value):
            return ()
        always = in_ci(value) if callable(in_ci) else in_ci
        return (pytest.mark.slow,) if always else (pytest.mark.slow, pytest.mark.thorough)

    return [pytest.param(value, id=name(value), marks=marks(value)) for value in values]
