"""Maxima, winners and the adjoint by compiled loops; conventions as in the pools without them."""

from __future__ import annotations

from math import nan

import jax
import numpy as np

from jcnn.geometry import Geometry
from jcnn.lowering.native.calls import places, run, workers
from jcnn.precision import widened


def max_pool(
    g: Geometry, winners: np.dtype, floor: float | None, x: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The maximum of each window and the index of the first element that reaches it.

    Of half precision in float32, and exact: a maximum is one of its window's elements.
    """
    shape = (x.shape[0], *g.output, x.shape[-1])
    seen = (x.shape[0], *((1, *g.output))[-2:], x.shape[-1])
    made = [jax.ShapeDtypeStruct(seen, dtype) for dtype in (np.float32, winners)]
    least = np.float32(nan if floor is None else x.dtype.type(floor))
    values = {**places(g), "workers": np.int64(workers()), "floor": least}
    lines = widened(x if g.rank == 2 else x[:, None])
    y, winner = run("max_pool", winners.name, made, lines, mapped="broadcast_all", **values)
    return y.reshape(shape).astype(x.dtype), winner.reshape(shape)


def scatter(g: Geometry, dy: jax.Array, winner: jax.Array) -> jax.Array:
    """Adds each dy[m] at the winner of window m, in the order of the loop without."""
    shape = (dy.shape[0], *g.size, dy.shape[-1])
    seen = (dy.shape[0], *((1, *g.size))[-2:], dy.shape[-1])
    lines = (a if g.rank == 2 else a[:, None] for a in (dy, winner))
    values = {**places(g), "workers": np.int64(workers())}
    made = [jax.ShapeDtypeStruct(seen, np.float32)]
    name = winner.dtype.name
    return run("scatter", name, made, *lines, mapped="broadcast_all", **values)[0].reshape(shape)
