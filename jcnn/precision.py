"""Half precision: arrays of it, computed in float32 and rounded once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

F = TypeVar("F", bound=Callable[..., Any])


def in_float32(function: F) -> F:
    """The same function in float32 where an argument is of half precision, its results rounded.

    A sum of many products, rounded to bfloat16 after each, may be 20 % off; in float16 a square
    overflows from 256 on. Functions of float32 and float64 are as they were.
    """

    @wraps(function)
    def wide(*args: Any, **options: Any) -> Any:
        half = next((a.dtype for a in jax.tree.leaves(args) if is_half(a)), None)
        if half is None:
            return function(*args, **options)
        results = function(*jax.tree.map(widened, args), **options)
        return jax.tree.map(lambda a: a.astype(half), results)

    return wide  # pyright: ignore[reportReturnType]


def widened(a: Any) -> Any:
    """Return an array of half precision in float32, and anything else as it is."""
    return a.astype(jnp.float32) if is_half(a) else a


def dtype_within(a: jax.Array) -> jnp.dtype:
    """Return the dtype in which is computed what is done with ``a``."""
    return jnp.dtype(jnp.float32) if is_half(a) else a.dtype


def is_half(a: Any) -> bool:
    """Whether this is a floating array of fewer bits than float32."""
    dtype = getattr(a, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize < 4
