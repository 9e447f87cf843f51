"""Pools: maxima, their winners and sums in windows, by comparing shifted views of the input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial, reduce
from itertools import product
from math import prod

import jax
import jax.numpy as jnp
from jax import lax

from jcnn.axes import known
from jcnn.geometry import Geometry
from jcnn.lowering import large_windows, xla_pools
from jcnn.lowering.choice import decide
from jcnn.lowering.native import pools as native_pools
from jcnn.lowering.once import on_cpu_once
from jcnn.lowering.policy import Policy, allow_native
from jcnn.lowering.problem import Problem
from jcnn.lowering.windows import nan_where, overlap_add, pad, views
from jcnn.precision import dtype_within, in_float32

Pair = tuple[jax.Array, jax.Array]


def max_pool(g: Geometry, x: jax.Array, floor: float | None = None) -> Pair:
    """The maximum of each window and the index of the first element that reaches it.

    Padding counts as -inf. With a floor, y = max(floor, max), and the winner is the largest value
    of its dtype ("none") where no element exceeds the floor. A window that holds NaN gives NaN, and
    whichever winner.
    """
    # The results go through the call and x does not, so that XLA computes what comes before, such
    # as the sum with a bias, within the pool's own loops and doesn't store it.
    if _chosen("max_pool", g, x) == "native":
        run = partial(native_pools.max_pool, g, winner_dtype(g), floor)
        # Both are traced: what stands in on another platform is chosen without loops, or a large
        # window would have a view for each element.
        with allow_native(False):
            return lax.platform_dependent(x, cpu=run, default=partial(_max_pool, g, floor))
    return on_cpu_once(lambda *pair: pair, *_max_pool(g, floor, x))


def _max_pool(g: Geometry, floor: float | None, x: jax.Array) -> Pair:
    dtype = winner_dtype(g)
    if _chosen("max_pool", g, x) == "doubling":
        return _floored(floor, *large_windows.max_pool(g, x, dtype))
    seen = list(views(g, pad(g, x, -jnp.inf)))
    # lax.max looks for NaN at every comparison. Apart from them it is looked for in two arrays at a
    # time: 3x3 windows take up to a quarter less so, 2x2 ones a tenth more.
    nan_apart = g.taps > 4
    best, winner = seen[0], jnp.zeros(seen[0].shape, dtype)
    for k, view in enumerate(seen[1:], 1):
        larger = lax.gt(view, best)
        winner = lax.select(larger, lax.full_like(winner, k), winner)
        best = lax.select(larger, view, best) if nan_apart else lax.max(best, view)
    best, winner = _floored(floor, best, winner)
    if nan_apart:
        unordered = reduce(lax.bitwise_or, (lax.ne(view, view) for view in seen))
        best = nan_where(unordered, best)
    return best, winner


def _floored(floor: float | None, best: jax.Array, winner: jax.Array) -> Pair:
    if floor is None:
        return best, winner
    least = lax.full_like(best, floor)
    winner = lax.select(lax.gt(best, least), winner, lax.full_like(winner, none(winner.dtype)))
    return lax.max(best, least), winner


def _chosen(operation: str, g: Geometry, a: jax.Array) -> str:
    """The lowering of a pool; where this process does not compute on a CPU, nothing is weighed."""
    channels = a.shape[-1]
    problem = Problem(operation, g, a.shape[0], channels, channels, dtype_within(a).name)
    return decide(problem, Policy.current(), jax.default_backend()).name


def gather(g: Geometry, x: jax.Array, winner: jax.Array) -> jax.Array:
    """y[m] = x at the winner of window m; 0 where there is none."""
    if _chosen("gather", g, x) == "placed":
        return large_windows.gather(g, x, winner)
    y = jnp.zeros(winner.shape, x.dtype)
    for k, view in enumerate(views(g, pad(g, x, 0))):
        y = jnp.where(winner == jnp.asarray(k, winner.dtype), view, y)
    return y


@in_float32
def scatter(g: Geometry, dy: jax.Array, winner: jax.Array) -> jax.Array:
    """Adjoint of gather: adds each dy[m] at the winner of window m."""
    name = _chosen("scatter", g, dy)
    if name == "native":
        run = partial(native_pools.scatter, g)
        with allow_native(False):
            return lax.platform_dependent(dy, winner, cpu=run, default=partial(scatter, g))
    if name == "placed":
        return large_windows.scatter(g, dy, winner)
    if name == "spread":
        return on_cpu_once(partial(_spread, g), _with_ends(g, dy), _with_ends(g, winner))
    zero = jnp.zeros((), dy.dtype)
    return overlap_add(
        g, (jnp.where(winner == jnp.asarray(k, winner.dtype), dy, zero) for k in range(g.taps))
    )


def _spread(g: Geometry, dy: jax.Array, winner: jax.Array | None = None) -> jax.Array:
    """Adds each dy[m] at every element of window m, or at its winner alone.

    The input is blocks of one stride each, n = s q + r. A window reaches ceil(k / s) of them:

        dx[q, r] = sum_j dy[q - j] where s j + r is in the window (and is winner[q - j]),

    a single loop over dx, without a sum where windows do not overlap. Where there is a winner, dy
    and it are :func:`_with_ends`.
    """
    reach = _reach(g)
    ends = [0 if winner is None else n - 1 for n in reach]
    blocks = [m + j - 1 for m, j in zip(g.output, reach, strict=True)]
    cells = [n for pair in zip(blocks, g.strides, strict=True) for n in pair]
    shape = (dy.shape[0], *cells, dy.shape[-1])
    # Counted where it is needed (an iota): a table would be read for every element.
    r = [lax.broadcasted_iota(jnp.uint32, shape, 2 * axis + 2) for axis in range(g.rank)]
    dx = zero = lax.full(shape, 0, dy.dtype)
    for j in product(*map(range, reach)):
        conditions = list(_inside(g, j, r))
        if winner is not None:
            conditions.append(_is_winner(g, j, r, _shifted(g, ends, j, shape, winner)))
        part = _shifted(g, ends, j, shape, dy)
        if conditions:
            part = lax.select(reduce(lax.bitwise_and, conditions), part, zero)
        dx = lax.add(dx, part)
    whole = [n * s for n, s in zip(blocks, g.strides, strict=True)]
    edges = [
        (-lo, size + lo - n, 0) for (lo, _), size, n in zip(g.padding, g.size, whole, strict=True)
    ]
    dx = dx.reshape(dy.shape[0], *whole, dy.shape[-1])
    return lax.pad(dx, jnp.zeros((), dx.dtype), [(0, 0, 0), *edges, (0, 0, 0)])


def _reach(g: Geometry) -> list[int]:
    """Blocks of one stride that a window reaches, along each axis."""
    return [-(-k // s) for k, s in zip(g.window, g.strides, strict=True)]


def _with_ends(g: Geometry, a: jax.Array) -> jax.Array:
    """Gradients or winners, with nothing before the first window and after the last, block-wide.

    Written out before the loop that compares winners: within it, each element would ask whether it
    is there, which LLVM doesn't vectorize (3x3 strides 2, 64 channels: 17 ms against 2). A loop
    that only adds is faster the other way (1.0 ms against 1.5).
    """
    return _padded(a, [(n - 1, n - 1) for n in _reach(g)])


def _shifted(
    g: Geometry, ends: Sequence[int], j: Sequence[int], shape: Sequence[int], a: jax.Array
) -> jax.Array:
    """a[q - j] for every element r of every block q, from an array with so many elements more."""
    a = _padded(a, [(i - e, n - 1 - i - e) for i, n, e in zip(j, _reach(g), ends, strict=True)])
    return lax.broadcast_in_dim(a, shape, (0, *range(1, 2 * g.rank, 2), 2 * g.rank + 1))


def _padded(a: jax.Array, edges: Sequence[tuple[int, int]]) -> jax.Array:
    """With zeros, or no winners, around it; cropped where negative."""
    nothing = jnp.zeros((), a.dtype) if jnp.issubdtype(a.dtype, jnp.floating) else none(a.dtype)
    return lax.pad(a, nothing, [(0, 0, 0), *((lo, hi, 0) for lo, hi in edges), (0, 0, 0)])


def _inside(g: Geometry, j: Sequence[int], r: Sequence[jax.Array]) -> Iterator[jax.Array]:
    """Whether element r of a window's block j is one of the window, where some are not."""
    for i, k, s, place in zip(j, g.window, g.strides, r, strict=True):
        if (i + 1) * s > k:
            yield lax.lt(place, jnp.uint32(k - i * s))


def _is_winner(
    g: Geometry, j: Sequence[int], r: Sequence[jax.Array], winner: jax.Array
) -> jax.Array:
    """Whether element r of a window's block j is the one that won."""
    strides = [prod(g.window[axis + 1 :]) for axis in range(g.rank)]
    first = sum(i * s * n for i, s, n in zip(j, g.strides, strides, strict=True))
    terms = (lax.mul(place, jnp.uint32(n)) for place, n in zip(r, strides, strict=True))
    index = lax.add(reduce(lax.add, terms), jnp.uint32(first))
    disjoint = all(k <= s for k, s in zip(g.window, g.strides, strict=True))
    channels = winner.shape[-1]
    if not (disjoint and known(channels) and 32 <= channels < 40):
        return lax.eq(winner, index.astype(winner.dtype))
    # So short a loop LLVM unrolls whole where it is over fewer than 40 channels, and vectorizes it
    # along the width then, by elements, at half the speed. Two operations more keep it from that,
    # from 32 on: compared are the bits that tell the indices apart, and "none" from them.
    highest = jnp.iinfo(winner.dtype).max // 2 + 1
    bits = highest | (2 ** (g.taps - 1).bit_length() - 1)
    different = lax.bitwise_xor(winner.astype(jnp.uint32), index)
    return lax.eq(lax.bitwise_and(different, jnp.uint32(bits)), jnp.uint32(0))


@in_float32
def window_sum(g: Geometry, x: jax.Array) -> jax.Array:
    """The sum of each window; padding counts as 0."""
    if xla_pools.serves(g):
        return xla_pools.window_sum(g, x)
    if _chosen("window_sum", g, x) == "doubling":
        return large_windows.window_sum(g, x)
    return sum(views(g, pad(g, x, 0)), start=jnp.zeros((), x.dtype))


@in_float32
def window_spread(g: Geometry, dy: jax.Array) -> jax.Array:
    """Adjoint of window_sum: adds each dy[m] at every element of window m."""
    if xla_pools.serves(g):
        return xla_pools.window_spread(g, dy)
    name = _chosen("window_spread", g, dy)
    if name == "doubling":
        return large_windows.window_spread(g, dy)
    if name == "spread":
        return _spread(g, dy)
    return overlap_add(g, (dy for _ in range(g.taps)))


def winner_dtype(g: Geometry) -> jnp.dtype:
    """The smallest unsigned type for every index of a window and one value more, "none"."""
    return next(jnp.dtype(t) for t in ("uint8", "uint16", "uint32") if g.taps < jnp.iinfo(t).max)


def none(dtype: jnp.dtype) -> jax.Array:
    """The winner of a window without one."""
    return jnp.asarray(jnp.iinfo(dtype).max, dtype)
