"""Arrays from what a caller may write, as the operations take it: lists and numbers too."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import jax.numpy as jnp

F = TypeVar("F", bound=Callable[..., Any])


def of_arrays(function: F) -> F:
    """The same function, each argument that is annotated as an array being made one."""
    parameters = inspect.signature(function).parameters
    arrays = {k for k, p in parameters.items() if str(p.annotation).startswith("jax.Array")}
    places = [name in arrays for name in parameters]

    def made(a: Any, is_array: bool) -> Any:
        return jnp.asarray(a) if is_array and a is not None else a

    @wraps(function)
    def of_any(*args: Any, **options: Any) -> Any:
        named = {name: made(a, name in arrays) for name, a in options.items()}
        return function(*map(made, args, places), **named)

    return of_any  # pyright: ignore[reportReturnType]
