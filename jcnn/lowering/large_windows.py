"""Pools of large windows, whose programs do not grow with the window.

A maximum or a sum over a window is one along each axis in turn, and one of k elements is one of two
windows that cover it: log k steps of doubling. Where windows do not overlap it is one reduction.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd, prod

import jax
import jax.numpy as jnp
from jax import lax

from jcnn.axes import known
from jcnn.geometry import Geometry
from jcnn.lowering.windows import nan_where, pad, resized

Arrays = tuple[jax.Array, ...]
# Elements that an index of 32 bits tells apart.
COUNTED = 2**32


def window_sum(g: Geometry, x: jax.Array) -> jax.Array:
    """The sum of each window, axis by axis; padding counts as 0."""
    x = pad(g, x)
    for axis in reversed(range(g.rank)):
        x = _sum_along(g, axis, x)
    return x


def _sum_along(g: Geometry, axis: int, x: jax.Array) -> jax.Array:
    k, s, m, place = g.window[axis], g.strides[axis], g.output[axis], axis + 1
    if k <= s:
        return _blocks(x, place, k, s, m).sum(place + 1)
    common = gcd(k, s)
    x = _blocks(x, place, common, common, ((m - 1) * s + k) // common).sum(place + 1)
    x = _doubled_sum(x, place, k // common)
    return _every(x, place, s // common, m)


def _doubled_sum(x: jax.Array, place: int, k: int) -> jax.Array:
    """Sums of k neighbours: those of the powers of two that k is made of."""
    total, size, done = None, 1, 0
    count = x.shape[place] - k + 1
    while True:
        if k & size:
            part = lax.slice_in_dim(x, done, done + count, axis=place)
            total, done = part if total is None else total + part, done + size
        if done == k:
            assert total is not None
            return total
        x = _pairs(x, place, size, lax.add)
        size *= 2


def _pairs(x: jax.Array, place: int, offset: int, combine: Callable) -> jax.Array:
    n = x.shape[place]
    left = lax.slice_in_dim(x, 0, n - offset, axis=place)
    return combine(left, lax.slice_in_dim(x, offset, n, axis=place))


def window_spread(g: Geometry, dy: jax.Array) -> jax.Array:
    """Adjoint of window_sum, axis by axis: dx[n] is the sum of dy over the windows that hold n."""
    for axis in range(g.rank):
        dy = _spread_along(g, axis, dy)
    edges = [
        (-lo, size + lo - n)
        for (lo, _), size, n in zip(g.padding, g.size, dy.shape[1:-1], strict=True)
    ]
    return resized(dy, edges)


def _spread_along(g: Geometry, axis: int, dy: jax.Array) -> jax.Array:
    k, s, place = g.window[axis], g.strides[axis], axis + 1
    common = k if k <= s else gcd(k, s)
    if k > s:
        # Between two dy are s / common - 1 zeros; each element sums the k / common before it.
        edges = [(0, 0, 0)] * dy.ndim
        reach = k // common - 1
        edges[place] = (reach, reach, s // common - 1)
        dy = lax.pad(dy, jnp.zeros((), dy.dtype), edges)
        dy = _doubled_sum(dy, place, k // common)
    apart = common if k > s else s
    shape = (*dy.shape[: place + 1], common, *dy.shape[place + 1 :])
    dy = lax.broadcast_in_dim(dy, shape, [n for n in range(len(shape)) if n != place + 1])
    dy = resized(dy, [(0, apart - common)], first=place + 1)
    return lax.collapse(dy, place, place + 2)


def max_pool(g: Geometry, x: jax.Array, winners: jnp.dtype) -> tuple[jax.Array, jax.Array]:
    """The maximum of each window and the index of its first element that reaches it."""
    y = pad(g, x, -jnp.inf)
    winner = None
    for axis in reversed(range(g.rank)):
        y, winner = _max_along(g, axis, y, winner, winners)
    assert winner is not None
    return y, winner.astype(winners)


def _max_along(
    g: Geometry, axis: int, x: jax.Array, winner: jax.Array | None, winners: jnp.dtype
) -> tuple[jax.Array, jax.Array]:
    """Along one axis, whose elements are ``unit`` apart in the index of the window."""
    k, s, m, place = g.window[axis], g.strides[axis], g.output[axis], axis + 1
    unit = prod(g.window[axis + 1 :])
    common = k if k <= s else gcd(k, s)
    apart, count = (s, m) if k <= s else (common, ((m - 1) * s + k) // common)
    x, winner = _max_of_blocks(x, winner, place, (common, apart, count), unit)
    if k <= s:
        return x, winner
    x, winner = _doubled_max(x, winner, place, k // common, common * unit)
    return _every(x, place, s // common, m), _every(winner, place, s // common, m)


def _max_of_blocks(
    x: jax.Array, winner: jax.Array | None, place: int, blocks: tuple[int, int, int], unit: int
) -> tuple[jax.Array, jax.Array]:
    """Maxima over blocks that don't overlap: the least index of those that reach them."""
    size, apart, count = blocks
    x = _blocks(x, place, size, apart, count)
    index = lax.broadcasted_iota(jnp.int32, x.shape, place + 1) * jnp.int32(unit)
    if winner is not None:
        index = index + _blocks(winner, place, size, apart, count)
    y = lax.reduce_max(x, (place + 1,))
    reached = lax.eq(x, lax.broadcast_in_dim(y, x.shape, _but(x.ndim, place + 1)))
    last = lax.full_like(index, jnp.iinfo(jnp.int32).max)
    # XLA's libraries on a CPU lose NaN in such a maximum: where there is one, an index below all.
    found = lax.select(lax.ne(x, x), lax.full_like(index, -1), lax.select(reached, index, last))
    winner = lax.reduce_min(found, (place + 1,))
    nothing = lax.full_like(winner, 0)
    return nan_where(lax.lt(winner, nothing), y), lax.max(winner, nothing)


def _doubled_max(
    x: jax.Array, winner: jax.Array, place: int, k: int, unit: int
) -> tuple[jax.Array, jax.Array]:
    """Maxima of k neighbours: two windows cover one of up to twice their size, and may overlap."""
    size = 1
    while size < k:
        offset = min(size, k - size)
        larger = _pairs(x, place, offset, lambda left, right: lax.gt(right, left))
        winner = _pairs(
            winner,
            place,
            offset,
            lambda left, right, larger=larger, on=offset * unit: lax.select(
                larger, right + jnp.int32(on), left
            ),
        )
        x = _pairs(x, place, offset, lax.max)
        size += offset
    return x, winner


def gather(g: Geometry, x: jax.Array, winner: jax.Array) -> jax.Array:
    """y[m] = x at the winner of window m; 0 where there is none, or it is padding."""
    index, inside = _places(g, winner)
    flat = lax.collapse(x, 1, g.rank + 1)
    y = jnp.take_along_axis(flat, lax.collapse(index, 1, g.rank + 1), axis=1, mode="clip")
    return jnp.where(inside, y.reshape(winner.shape), jnp.zeros((), x.dtype))


def scatter(g: Geometry, dy: jax.Array, winner: jax.Array) -> jax.Array:
    """Adjoint of gather: adds each dy[m] at the winner of window m."""
    index, inside = _places(g, winner)
    n, c, positions = dy.shape[0], dy.shape[-1], prod(g.size)
    image = lax.broadcasted_iota(jnp.uint32, dy.shape, 0)
    channel = lax.broadcasted_iota(jnp.uint32, dy.shape, dy.ndim - 1)
    dy, index = jnp.where(inside, dy, jnp.zeros((), dy.dtype)), index.astype(jnp.uint32)
    if not known(*dy.shape) or n * positions * c > COUNTED:
        dx = jnp.zeros((n, positions, c), dy.dtype)
        return dx.at[image, index, channel].add(dy, mode="drop").reshape(n, *g.size, c)
    # One index in place of three takes a quarter of the time.
    index = (image * jnp.uint32(positions) + index) * jnp.uint32(c) + channel
    dx = jnp.zeros(n * positions * c, dy.dtype)
    dx = dx.at[index.reshape(-1)].add(dy.reshape(-1), mode="drop")
    return dx.reshape(n, *g.size, c)


def _places(g: Geometry, winner: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The flat index in x of each window's winner, and whether it is one of x's elements."""
    element = winner.astype(jnp.int32)
    inside = winner < g.taps
    flat = jnp.zeros(winner.shape, jnp.int32)
    for axis in range(g.rank):
        within = element // prod(g.window[axis + 1 :]) % g.window[axis]
        start = lax.broadcasted_iota(jnp.int32, winner.shape, axis + 1) * g.strides[axis]
        place = start + within * g.dilation[axis] - g.padding[axis][0]
        inside = inside & (place >= 0) & (place < g.size[axis])
        flat = flat * g.size[axis] + place
    return jnp.where(inside, flat, 0), inside


def _blocks(x: jax.Array, place: int, size: int, apart: int, count: int) -> jax.Array:
    """The first ``size`` of every ``apart`` elements, ``count`` times, as an axis of their own."""
    total = (count - 1) * apart + size
    x = lax.slice_in_dim(x, 0, total, axis=place)
    x = resized(x, [(0, count * apart - total)], first=place)
    x = x.reshape(*x.shape[:place], count, apart, *x.shape[place + 1 :])
    return lax.slice_in_dim(x, 0, size, axis=place + 1)


def _every(x: jax.Array, place: int, stride: int, count: int) -> jax.Array:
    return lax.slice_in_dim(x, 0, (count - 1) * stride + 1, stride, axis=place)


def _but(ndim: int, axis: int) -> list[int]:
    return [n for n in range(ndim) if n != axis]
