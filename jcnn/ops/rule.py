"""``jax.custom_vjp`` with leading static arguments, as a decorator that keeps the return type."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax

R = TypeVar("R")


def custom_vjp(*, statics: int) -> Callable[[Callable[..., R]], jax.custom_vjp[R]]:
    """Give a function a gradient rule of its own; its first ``statics`` arguments are hashable."""

    def decorate(function: Callable[..., R]) -> jax.custom_vjp[R]:
        rule = jax.custom_vjp(function, nondiff_argnums=tuple(range(statics)))
        return rule  # pyright: ignore[reportReturnType]

    return decorate
