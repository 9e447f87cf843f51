"""Matrix products that accumulate in float32 at least, whatever the arrays' own type."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    """The product over the last axis of a and the first but batch of b, in the arrays' type."""
    return jnp.matmul(a, b, preferred_element_type=accumulator(a)).astype(a.dtype)


def accumulator(a: jax.Array) -> jnp.dtype:
    """The type sums are kept in: float32 for half precision, else the array's own."""
    return jnp.dtype(jnp.float32) if a.dtype.itemsize < 4 else a.dtype
