"""Maxima, their winners and what flows back to them, by compiled loops.

The conventions are those of :mod:`jcnn.lowering.pools`.
"""

from __future__ import annotations

from math import nan

import jax
import numpy as np

from jcnn.geometry import Geometry
from jcnn.lowering.native import library
from jcnn.lowering.native.calls import places, workers


def max_pool(
    g: Geometry, winners: np.dtype, floor: float | None, x: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The maximum of each window and the index of the first element that reaches it."""
    plane, shape = _plane(g, x), (x.shape[0], *g.output, x.shape[-1])
    seen = (x.shape[0], *((1, *g.output))[-2:], x.shape[-1])
    run = jax.ffi.ffi_call(
        library.target("max_pool", winners.name),
        [jax.ShapeDtypeStruct(seen, x.dtype), jax.ShapeDtypeStruct(seen, winners)],
        vmap_method="sequential",
    )
    least = np.float32(nan if floor is None else floor)
    y, winner = run(plane, **places(g), workers=np.int64(workers()), floor=least)
    return y.reshape(shape), winner.reshape(shape)


def scatter(g: Geometry, dy: jax.Array, winner: jax.Array) -> jax.Array:
    """Each dy[m], added at the winner of window m."""
    seen = (dy.shape[0], *((1, *g.size))[-2:], dy.shape[-1])
    run = jax.ffi.ffi_call(
        library.target("scatter", winner.dtype.name),
        jax.ShapeDtypeStruct(seen, dy.dtype),
        vmap_method="sequential",
    )
    dx = run(_plane(g, dy), _plane(g, winner), **places(g), workers=np.int64(workers()))
    return dx.reshape(dy.shape[0], *g.size, dy.shape[-1])


def _plane(g: Geometry, a: jax.Array) -> jax.Array:
    """A line as a plane of one row."""
    return a if g.rank == 2 else a[:, None]
