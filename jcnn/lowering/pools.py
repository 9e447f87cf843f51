"""Pools: maxima, their winners and sums in windows, by comparing shifted views of the input."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import jax
import jax.numpy as jnp
from jax import lax

from jcnn.lowering.geometry import Geometry


def max_pool(g: Geometry, x: jax.Array, floor: float | None = None) -> tuple[jax.Array, jax.Array]:
    """The maximum of each window and the index of the first element that reaches it.

    Padding counts as -inf. With a floor, y = max(floor, max), and the winner is the largest value of its
    dtype ("none") where no element exceeds the floor.
    """
    views = _views(g, _pad(g, x, -jnp.inf))
    dtype = winner_dtype(g)
    best = next(views)
    winner = jnp.zeros(best.shape, dtype)
    for k, view in enumerate(views, 1):
        winner = jnp.where(view > best, jnp.asarray(k, dtype), winner)
        best = jnp.maximum(best, view)
    if floor is not None:
        winner = jnp.where(best > floor, winner, none(dtype))
        best = jnp.maximum(best, jnp.asarray(floor, x.dtype))
    return best, winner


def max_pool_values(g: Geometry, x: jax.Array, floor: float | None = None) -> jax.Array:
    """The maximum of each window alone."""
    return max_pool(g, x, floor)[0]


def gather(g: Geometry, x: jax.Array, winner: jax.Array) -> jax.Array:
    """y[m] = x at the winner of window m; 0 where there is none."""
    y = jnp.zeros(winner.shape, x.dtype)
    for k, view in enumerate(_views(g, _pad(g, x, 0))):
        y = jnp.where(winner == jnp.asarray(k, winner.dtype), view, y)
    return y


def scatter(g: Geometry, dy: jax.Array, winner: jax.Array) -> jax.Array:
    """Adjoint of gather: adds each dy[m] at the winner of window m."""
    zero = jnp.zeros((), dy.dtype)
    return _overlap_add(
        g, (jnp.where(winner == jnp.asarray(k, winner.dtype), dy, zero) for k in range(g.taps))
    )


def window_sum(g: Geometry, x: jax.Array) -> jax.Array:
    """The sum of each window; padding counts as 0."""
    return sum(_views(g, _pad(g, x, 0)), start=jnp.zeros((), x.dtype))


def window_spread(g: Geometry, dy: jax.Array) -> jax.Array:
    """Adjoint of window_sum: adds each dy[m] at every element of window m."""
    return _overlap_add(g, (dy for _ in range(g.taps)))


def winner_dtype(g: Geometry) -> jnp.dtype:
    """The smallest unsigned type that holds every index of a window and one value more, for "none"."""
    return next(
        jnp.dtype(t) for t in ("uint8", "uint16", "uint32") if g.taps < jnp.iinfo(t).max
    )


def none(dtype: jnp.dtype) -> jax.Array:
    """The winner of a window without one."""
    return jnp.asarray(jnp.iinfo(dtype).max, dtype)


def _pad(g: Geometry, x: jax.Array, value: float) -> jax.Array:
    return lax.pad(x, jnp.asarray(value, x.dtype), [(0, 0, 0), *((lo, hi, 0) for lo, hi in g.padding), (0, 0, 0)])


def _views(g: Geometry, x: jax.Array) -> Iterator[jax.Array]:
    """The input as each element of the windows sees it, in row-major order."""
    for k in product(*map(range, g.window)):
        start = [d * i for d, i in zip(g.dilation, k, strict=True)]
        limit = [i + (m - 1) * s + 1 for i, m, s in zip(start, g.output, g.strides, strict=True)]
        yield lax.slice(
            x, (0, *start, 0), (x.shape[0], *limit, x.shape[-1]), (1, *g.strides, 1)
        )


def _overlap_add(g: Geometry, parts: Iterator[jax.Array]) -> jax.Array:
    """Adjoint of the views: adds each part where its view was taken."""
    dx = None
    for k, part in zip(product(*map(range, g.window)), parts, strict=True):
        spread = [
            (d * i - lo, size + lo - d * i - (m - 1) * s - 1, s - 1)
            for d, i, (lo, _), size, m, s in zip(
                g.dilation, k, g.padding, g.size, g.output, g.strides, strict=True
            )
        ]
        part = lax.pad(part, jnp.zeros((), part.dtype), [(0, 0, 0), *spread, (0, 0, 0)])
        dx = part if dx is None else dx + part
    assert dx is not None
    return dx
