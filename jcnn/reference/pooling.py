"""Pooling on ``lax.reduce_window``; see :mod:`jcnn.ops.pooling` and ``max_pooling``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jcnn.precision import in_float32
from jcnn.reference.arrays import of_arrays
from jcnn.reference.padding import Axes, Padding, Pairs, bordered, pad, pads, per_axis


def _reduce_window(
    x: jax.Array, reduction: str, window: Sequence[int], strides: Sequence[int], edges: Pairs
) -> jax.Array:
    combine, start = {"max": (lax.max, -np.inf), "sum": (lax.add, 0)}[reduction]
    # a NumPy scalar lets JAX see which reduction it is, and derive its gradient
    start = x.dtype.type(start)
    whole = (1, *window, 1), (1, *strides, 1), [(0, 0), *edges, (0, 0)]
    return lax.reduce_window(x, start, combine, *whole)


def _placed(
    x: jax.Array, window: Axes, strides: Axes | None, padding: Padding, ceil_mode: bool
) -> tuple[jax.Array, tuple[int, ...], tuple[int, ...], Pairs, Pairs]:
    """The input with its border, its windows, its padding, and that up to the last window."""
    rank = x.ndim - 2
    window = per_axis(window, rank)
    strides = window if strides is None else per_axis(strides, rank)
    x, edges = bordered(x, padding, pads(padding, x.shape[1:-1], window, strides))
    wide = _to_the_last(edges, x.shape[1:-1], window, strides) if ceil_mode else edges
    return x, window, strides, edges, wide


def _to_the_last(
    edges: Pairs, size: Sequence[int], window: Sequence[int], strides: Sequence[int]
) -> Pairs:
    """Pad for as many windows as begin before the input ends, if the padding behind holds fewer."""
    wide = []
    for (lo, hi), n, k, s in zip(edges, size, window, strides, strict=True):
        windows = min(-(-(n + lo + hi - k) // s), (n + lo - 1) // s) + 1
        wide.append((lo, max(hi, s * (windows - 1) + k - n - lo)))
    return wide


@of_arrays
def max_pool(
    x: jax.Array,
    window: Axes,
    *,
    strides: Axes | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
) -> jax.Array:
    """Take the largest element of each window."""
    x, window, strides, _, edges = _placed(x, window, strides, padding, ceil_mode)
    return _reduce_window(x, "max", window, strides, edges)


@of_arrays
def relu_max_pool(x: jax.Array, window: Axes, **options: Any) -> jax.Array:
    """Rectify, then take the largest element of each window."""
    return max_pool(jax.nn.relu(x), window, **options)


@of_arrays
@in_float32
def average_pool(
    x: jax.Array,
    window: Axes,
    *,
    strides: Axes | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> jax.Array:
    """Average each window; padding counts as zeros, if it counts."""
    x, window, strides, padded, edges = _placed(x, window, strides, padding, ceil_mode)
    counted = jnp.ones((1, *x.shape[1:-1], 1), x.dtype)
    if count_include_pad:
        counted, beyond = jnp.ones_like(pad(counted, padded)), []
        for (_, hi), (_, last) in zip(padded, edges, strict=True):
            beyond.append((0, last - hi))
    else:
        beyond = edges
    sums = _reduce_window(x, "sum", window, strides, edges)
    return sums / _reduce_window(counted, "sum", window, strides, beyond)


@of_arrays
@in_float32
def square_pool(
    x: jax.Array,
    window: Axes,
    *,
    strides: Axes | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
) -> jax.Array:
    """Add up the squares in each window."""
    x, window, strides, _, edges = _placed(x, window, strides, padding, ceil_mode)
    return _reduce_window(x * x, "sum", window, strides, edges)


@of_arrays
def decimate(x: jax.Array, factor: Axes) -> jax.Array:
    """Keep every ``factor``-th element of each spatial axis."""
    steps = (slice(None, None, f) for f in per_axis(factor, x.ndim - 2))
    return x[(slice(None), *steps, slice(None))]


@of_arrays
def global_max_pool(x: jax.Array) -> jax.Array:
    """Take the largest element over all spatial axes; at a tie the first."""
    size = x.shape[1:-1]
    return max_pool(x, size).reshape(x.shape[0], x.shape[-1])


@of_arrays
@in_float32
def global_average_pool(x: jax.Array) -> jax.Array:
    """Average over all spatial axes."""
    return jnp.mean(x, axis=tuple(range(1, x.ndim - 1)))
