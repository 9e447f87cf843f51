"""Pools: maxima, their winners and sums in windows, by comparing shifted views of the input."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jcnn.lowering.geometry import Geometry
from jcnn.lowering.windows import overlap_add, pad, views


def max_pool(g: Geometry, x: jax.Array, floor: float | None = None) -> tuple[jax.Array, jax.Array]:
    """The maximum of each window and the index of the first element that reaches it.

    Padding counts as -inf. With a floor, y = max(floor, max), and the winner is the largest value of its
    dtype ("none") where no element exceeds the floor.
    """
    seen = views(g, pad(g, x, -jnp.inf))
    dtype = winner_dtype(g)
    best = next(seen)
    winner = jnp.zeros(best.shape, dtype)
    for k, view in enumerate(seen, 1):
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
    for k, view in enumerate(views(g, pad(g, x, 0))):
        y = jnp.where(winner == jnp.asarray(k, winner.dtype), view, y)
    return y


def scatter(g: Geometry, dy: jax.Array, winner: jax.Array) -> jax.Array:
    """Adjoint of gather: adds each dy[m] at the winner of window m."""
    zero = jnp.zeros((), dy.dtype)
    return overlap_add(
        g, (jnp.where(winner == jnp.asarray(k, winner.dtype), dy, zero) for k in range(g.taps))
    )


def window_sum(g: Geometry, x: jax.Array) -> jax.Array:
    """The sum of each window; padding counts as 0."""
    return sum(views(g, pad(g, x, 0)), start=jnp.zeros((), x.dtype))


def window_spread(g: Geometry, dy: jax.Array) -> jax.Array:
    """Adjoint of window_sum: adds each dy[m] at every element of window m."""
    return overlap_add(g, (dy for _ in range(g.taps)))


def winner_dtype(g: Geometry) -> jnp.dtype:
    """The smallest unsigned type that holds every index of a window and one value more, for "none"."""
    return next(
        jnp.dtype(t) for t in ("uint8", "uint16", "uint32") if g.taps < jnp.iinfo(t).max
    )


def none(dtype: jnp.dtype) -> jax.Array:
    """The winner of a window without one."""
    return jnp.asarray(jnp.iinfo(dtype).max, dtype)
