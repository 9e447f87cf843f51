"""Pools: maxima, their winners and sums in windows, by comparing shifted views of the input."""

from __future__ import annotations

from functools import partial, reduce
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jcnn.lowering.blocks import map_blocks
from jcnn.lowering.geometry import Geometry
from jcnn.lowering.windows import overlap_add, pad, views

Pooled = tuple[jax.Array, jax.Array]


def max_pool(g: Geometry, x: jax.Array, floor: float | None = None) -> tuple[jax.Array, jax.Array]:
    """The maximum of each window and the index of the first element that reaches it.

    Padding counts as -inf. With a floor, y = max(floor, max), and the winner is the largest value
    of its dtype ("none") where no element exceeds the floor.
    """
    return lax.platform_dependent(
        x, cpu=partial(_max_pool_by_halves, g, floor), default=partial(_max_pool, g, floor)
    )


def _max_pool_by_halves(g: Geometry, floor: float | None, x: jax.Array) -> Pooled:
    """A loop over two halves of the batch.

    XLA's CPU backend would find the winner again wherever it is used (and keep x for that; it drops
    optimization barriers): 50 ms in place of 8 for a 3x3 pool and its gradient. A loop's result
    it keeps.
    """
    return map_blocks(partial(_max_pool, g, floor), max(1, x.shape[0] // 2), x)


def _max_pool(g: Geometry, floor: float | None, x: jax.Array) -> Pooled:
    dtype = winner_dtype(g)
    seen = views(g, pad(g, x, -jnp.inf))
    best = next(seen)
    winner = jnp.zeros(best.shape, dtype)
    for k, view in enumerate(seen, 1):
        winner = jnp.where(view > best, jnp.asarray(k, dtype), winner)
        best = jnp.maximum(best, view)
    if floor is not None:
        winner = jnp.where(best > floor, winner, none(dtype))
        best = jnp.maximum(best, jnp.asarray(floor, x.dtype))
    return lax.optimization_barrier((best, winner))


def max_pool_values(g: Geometry, x: jax.Array, floor: float | None = None) -> jax.Array:
    """The maximum of each window alone."""
    best = reduce(jnp.maximum, views(g, pad(g, x, -jnp.inf)))
    return best if floor is None else jnp.maximum(best, jnp.asarray(floor, x.dtype))


def gather(g: Geometry, x: jax.Array, winner: jax.Array) -> jax.Array:
    """y[m] = x at the winner of window m; 0 where there is none."""
    y = jnp.zeros(winner.shape, x.dtype)
    for k, view in enumerate(views(g, pad(g, x, 0))):
        y = jnp.where(winner == jnp.asarray(k, winner.dtype), view, y)
    return y


def scatter(g: Geometry, dy: jax.Array, winner: jax.Array) -> jax.Array:
    """Adjoint of gather: adds each dy[m] at the winner of window m.

    The input is blocks of one stride each, n = s q + r. A window reaches ceil(k / s) of them:

        dx[q, r] = sum_j dy[q - j] where winner[q - j] is the element s j + r,

    a single loop over dx, without a sum where windows do not overlap.
    """
    if max(g.dilation) > 1:
        zero = jnp.zeros((), dy.dtype)
        return overlap_add(
            g, (jnp.where(winner == jnp.asarray(k, winner.dtype), dy, zero) for k in range(g.taps))
        )
    reach = [-(-k // s) for k, s in zip(g.window, g.strides, strict=True)]
    blocks = [m + j - 1 for m, j in zip(g.output, reach, strict=True)]
    margin = [(0, 0, 0), *((j - 1, j - 1, 0) for j in reach), (0, 0, 0)]
    dy = lax.pad(dy, jnp.zeros((), dy.dtype), margin)
    winner = lax.pad(winner, none(winner.dtype), margin)
    axes = tuple(range(2, 2 * g.rank + 1, 2))
    dx = jnp.zeros((), dy.dtype)
    for j in product(*map(range, reach)):
        start = [r - 1 - i for r, i in zip(reach, j, strict=True)]
        at = (slice(None), *(slice(i, i + n) for i, n in zip(start, blocks, strict=True)))
        won = jnp.expand_dims(winner[at], axes) == _elements(g, j, winner.dtype)
        dx = dx + jnp.where(won, jnp.expand_dims(dy[at], axes), jnp.zeros((), dy.dtype))
    whole = [n * s for n, s in zip(blocks, g.strides, strict=True)]
    dx = dx.reshape(dy.shape[0], *whole, dy.shape[-1])
    edges = [
        (-lo, size + lo - n, 0) for (lo, _), size, n in zip(g.padding, g.size, whole, strict=True)
    ]
    return lax.pad(dx, jnp.zeros((), dx.dtype), [(0, 0, 0), *edges, (0, 0, 0)])


def _elements(g: Geometry, block: tuple[int, ...], dtype: jnp.dtype) -> np.ndarray:
    """Index in the window of each element of its block, shaped as the expanded winner."""
    places = [np.arange(j * s, (j + 1) * s) for j, s in zip(block, g.strides, strict=True)]
    grid = np.meshgrid(*places, indexing="ij")
    inside = np.all([i < k for i, k in zip(grid, g.window, strict=True)], axis=0)
    index = np.ravel_multi_index(grid, g.window, mode="clip")
    # g.taps is the index of no element and not "none" either.
    shape = (1, *(n for s in g.strides for n in (1, s)), 1)
    return np.where(inside, index, g.taps).astype(dtype).reshape(shape)


def window_sum(g: Geometry, x: jax.Array) -> jax.Array:
    """The sum of each window; padding counts as 0."""
    return sum(views(g, pad(g, x, 0)), start=jnp.zeros((), x.dtype))


def window_spread(g: Geometry, dy: jax.Array) -> jax.Array:
    """Adjoint of window_sum: adds each dy[m] at every element of window m."""
    return overlap_add(g, (dy for _ in range(g.taps)))


def winner_dtype(g: Geometry) -> jnp.dtype:
    """The smallest unsigned type for every index of a window and one value more, "none"."""
    return next(jnp.dtype(t) for t in ("uint8", "uint16", "uint32") if g.taps < jnp.iinfo(t).max)


def none(dtype: jnp.dtype) -> jax.Array:
    """The winner of a window without one."""
    return jnp.asarray(jnp.iinfo(dtype).max, dtype)
