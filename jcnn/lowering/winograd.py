"""Minimal filtering (Winograd; Lavin and Gray, 2016): fewer products at stride 1.

m outputs of a window of r need a = m + r - 1 products in place of m r along each axis:

    y = A' [(G w) * (B' x)],   dw = G' [(A dy) * (B' x)],   dx = B [(A dy) * (G w)]

for tiles of a inputs and m outputs; the last two are adjoints of the first. In two dimensions each
factor works along both axes, and the products of all tiles and channels are a^2 matrix products.
Relative error in float32, in norm: 2e-6 to 4e-6 for F(4x4, 3x3) and F(4x4, 5x5), against 4e-7.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache, reduce
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jcnn.lowering.blocks import block_size, map_blocks, sum_blocks
from jcnn.lowering.geometry import Geometry
from jcnn.lowering.windows import adjoint, flipped

POINTS = (0, 1, -1, 2, -2, Fraction(1, 2), Fraction(-1, 2))
TILE = 4
BLOCK_BYTES = 4 << 20
# From here a loop a row of the transform compiles in 0.6 s in place of 0.1, to run a tenth faster.
MANY_CHANNELS = 256


def correlate(g: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    """Correlation: y = A' [(G w) * (B' x)]."""
    kernels = _transform(_matrix(g, 1), lax.collapse(w, 0, g.rank))

    def block(x: jax.Array) -> jax.Array:
        products = jnp.einsum("apc,acd->apd", _inputs(g, x), kernels)
        return _from_tiles(g, _transform(_matrix(g, 0), products))

    return map_blocks(block, _images_a_block(g, x, w.shape[-1]), x)


def input_gradient(g: Geometry, dy: jax.Array, w: jax.Array) -> jax.Array:
    """The correlation of dy with the flipped kernel."""
    return correlate(adjoint(g), dy, flipped(g, w))


def kernel_gradient(g: Geometry, x: jax.Array, dy: jax.Array) -> jax.Array:
    """Its adjoint in w: dw = G' [(A dy) * (B' x)]."""

    def block(x: jax.Array, dy: jax.Array) -> jax.Array:
        cotangents = _transform(_matrix(g, 0).T, _to_tiles(g, dy))
        return jnp.einsum("apc,apd->acd", _inputs(g, x), cotangents)

    products = sum_blocks(block, _images_a_block(g, x, dy.shape[-1]), x, dy)
    dw = _transform(_matrix(g, 1).T, products)
    return dw.reshape(*g.window, x.shape[-1], dy.shape[-1])


def _images_a_block(g: Geometry, x: jax.Array, features: int) -> int:
    """Images whose transforms stay in cache: whole batches took twice as long."""
    values = prod(TILE + r - 1 for r in g.window) * prod(_tiles(g)) * (x.shape[-1] + features)
    return block_size(x.shape[0], values * x.dtype.itemsize, BLOCK_BYTES)


@cache
def _matrices(m: int, r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A' (m, a), G (a, r) and B' (a, a) of F(m, r), by Toom and Cook's evaluation at points.

    With V_n the powers 0 to n - 1 of the points (and the leading coefficient, "at infinity"), the
    product of polynomials is V_a^-1 [(V_r w) * (V_m y)]; its transpose is the correlation.
    """
    a = m + r - 1
    points = POINTS[: a - 1]

    def powers(n: int) -> np.ndarray:
        rows = [[float(p**i) for i in range(n)] for p in points]
        return np.array([*rows, [0.0] * (n - 1) + [1.0]])

    # Scaling each row of B' to small integers, and G by the inverse, halves the rounding.
    scale = np.array([*(float(prod(p - q for q in points if q != p)) for p in points), 1.0])
    b = np.linalg.inv(powers(a)).T * scale[:, None]
    return powers(m).T, powers(r) / scale[:, None], np.where(abs(b) < 1e-12, 0, b)


def _matrix(g: Geometry, which: int) -> np.ndarray:
    """The transform of a whole tile: the Kronecker product of those of its axes."""
    return reduce(np.kron, (_matrices(TILE, r)[which] for r in g.window))


def _transform(matrix: np.ndarray, tiles: jax.Array) -> jax.Array:
    """The matrix times (elements of a tile, tiles, channels)."""
    return jnp.tensordot(jnp.asarray(matrix, tiles.dtype), tiles, 1)


def _inputs(g: Geometry, x: jax.Array) -> jax.Array:
    """B' x for every tile, (a^2, tiles, C).

    The tiles overlap; sums of strided views, axis by axis, avoid writing them out.
    """
    tiles = _tiles(g)
    edges = [
        (lo, t * TILE + r - 1 - size - lo, 0)
        for (lo, _), t, r, size in zip(g.padding, tiles, g.window, g.size, strict=True)
    ]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    for axis, (t, r) in enumerate(zip(tiles, g.window, strict=True)):
        # Each axis done has added one in front, the elements of the tiles.
        views = [
            lax.slice_in_dim(x, i, i + (t - 1) * TILE + 1, TILE, axis=2 * axis + 1)
            for i in range(TILE + r - 1)
        ]
        quick = axis == 0 or x.shape[-1] >= MANY_CHANNELS
        combine = _one_loop if quick else _row_by_row
        x = combine(_matrices(TILE, r)[2], views, axis)
    return lax.collapse(lax.collapse(x, g.rank, -1), 0, g.rank)


def _one_loop(matrix: np.ndarray, views: list[jax.Array], axis: int) -> jax.Array:
    """The matrix times the views, its rows along a new axis: a single loop.

    It multiplies by zeros too, which takes no longer as the first of two axes (as the second, a
    tenth to a fifth of the whole), but compiles sooner than a loop a row.
    """
    rows = [lax.expand_dims(v, (axis,)) for v in views]
    shape = (1,) * axis + (-1,) + (1,) * (views[0].ndim - axis)
    columns = [jnp.asarray(column.reshape(shape), rows[0].dtype) for column in matrix.T]
    return reduce(jnp.add, [column * row for column, row in zip(columns, rows, strict=True)])


def _row_by_row(matrix: np.ndarray, views: list[jax.Array], axis: int) -> jax.Array:
    """The same, without the zeros: a loop a row."""
    return jnp.stack([_weighted_sum(row, views) for row in matrix], axis)


def _weighted_sum(weights: np.ndarray, views: list[jax.Array]) -> jax.Array:
    terms = [v if f == 1 else v * float(f) for f, v in zip(weights, views, strict=True) if f]
    return reduce(jnp.add, terms)


def _to_tiles(g: Geometry, dy: jax.Array) -> jax.Array:
    """(N, *output, D) to (m^2, tiles, D)."""
    tiles = _tiles(g)
    edges = [(0, t * TILE - m, 0) for t, m in zip(tiles, g.output, strict=True)]
    dy = lax.pad(dy, jnp.zeros((), dy.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    dy = dy.reshape(dy.shape[0], *(n for t in tiles for n in (t, TILE)), dy.shape[-1])
    inner, outer = range(2, 2 * g.rank + 1, 2), range(1, 2 * g.rank, 2)
    dy = lax.transpose(dy, (*inner, 0, *outer, 2 * g.rank + 1))
    return lax.collapse(lax.collapse(dy, g.rank, -1), 0, g.rank)


def _from_tiles(g: Geometry, y: jax.Array) -> jax.Array:
    """(m^2, tiles, D) to (N, *output, D)."""
    tiles, rank = _tiles(g), g.rank
    y = y.reshape(*(TILE,) * rank, -1, *tiles, y.shape[-1])
    axes = (n for i in range(rank) for n in (rank + 1 + i, i))
    y = lax.transpose(y, (rank, *axes, 2 * rank + 1))
    y = y.reshape(y.shape[0], *(t * TILE for t in tiles), y.shape[-1])
    return y[(slice(None), *map(slice, g.output))]


def _tiles(g: Geometry) -> tuple[int, ...]:
    return tuple(-(-m // TILE) for m in g.output)
