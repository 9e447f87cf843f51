"""Half precision: arrays of it, sums in float32."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import jax
import jax.numpy as jnp


def summed_in_float32(lowering: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """The same function (g, a, b ...) with its sums in float32 at least, rounded once at the end.

    A sum of many products, rounded to bfloat16 after each, may be 20 % off.
    """

    @wraps(lowering)
    def wide(g: object, *arrays: jax.Array) -> jax.Array:
        return lowering(g, *map(_widened, arrays)).astype(arrays[0].dtype)

    return wide


def _widened(a: jax.Array) -> jax.Array:
    half = jnp.issubdtype(a.dtype, jnp.floating) and a.dtype.itemsize < 4
    return a.astype(jnp.float32) if half else a
