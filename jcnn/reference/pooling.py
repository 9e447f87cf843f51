"""Pooling on ``lax.reduce_window``; see :mod:`jcnn.ops.pooling` and ``max_pooling``."""

from __future__ import annotations

from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jcnn.precision import in_float32
from jcnn.reference.convolution import Axes, Padding, pads, per_axis


def _reduce_window(
    x: jax.Array, reduction: str, window: Axes, strides: Axes | None, padding: Padding
) -> jax.Array:
    rank = x.ndim - 2
    window = per_axis(window, rank)
    strides = window if strides is None else per_axis(strides, rank)
    edges = [(0, 0), *pads(padding, x.shape[1:-1], window, strides), (0, 0)]
    combine, start = {"max": (lax.max, -np.inf), "sum": (lax.add, 0)}[reduction]
    # a NumPy scalar lets JAX see which reduction it is, and derive its gradient
    return lax.reduce_window(
        x, x.dtype.type(start), combine, (1, *window, 1), (1, *strides, 1), edges
    )


def max_pool(
    x: jax.Array, window: Axes, *, strides: Axes | None = None, padding: Padding = "VALID"
) -> jax.Array:
    """Take the largest element of each window."""
    return _reduce_window(x, "max", window, strides, padding)


def relu_max_pool(
    x: jax.Array, window: Axes, *, strides: Axes | None = None, padding: Padding = "VALID"
) -> jax.Array:
    """Rectify, then take the largest element of each window."""
    return max_pool(jax.nn.relu(x), window, strides=strides, padding=padding)


@in_float32
def average_pool(
    x: jax.Array, window: Axes, *, strides: Axes | None = None, padding: Padding = "VALID"
) -> jax.Array:
    """Average each window; padding counts as zeros."""
    taps = prod(per_axis(window, x.ndim - 2))
    return _reduce_window(x, "sum", window, strides, padding) / taps


@in_float32
def square_pool(
    x: jax.Array, window: Axes, *, strides: Axes | None = None, padding: Padding = "VALID"
) -> jax.Array:
    """Add up the squares in each window."""
    return _reduce_window(x * x, "sum", window, strides, padding)


def decimate(x: jax.Array, factor: Axes) -> jax.Array:
    """Keep every ``factor``-th element of each spatial axis."""
    steps = (slice(None, None, f) for f in per_axis(factor, x.ndim - 2))
    return x[(slice(None), *steps, slice(None))]


def global_max_pool(x: jax.Array) -> jax.Array:
    """Take the largest element over all spatial axes; at a tie the first."""
    size = x.shape[1:-1]
    return max_pool(x, size).reshape(x.shape[0], x.shape[-1])


@in_float32
def global_average_pool(x: jax.Array) -> jax.Array:
    """Average over all spatial axes."""
    return jnp.mean(x, axis=tuple(range(1, x.ndim - 1)))
