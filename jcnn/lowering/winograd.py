"""Minimal filtering (Winograd; Lavin and Gray, 2016): fewer products at stride 1.

m outputs of a window of r need a = m + r - 1 products in place of m r along each axis:

    y = A' [(G w) * (B' x)],   dw = G' [(A dy) * (B' x)],   dx = B [(A dy) * (G w)]

for tiles of a inputs and m outputs; the last two are adjoints of the first. In two dimensions each
factor works along both axes, and the products of all tiles and channels are a^2 matrix products.
An output may be off by the rounding of its whole tile: one large value disturbs the outputs of its
tile that don't see it. :func:`jcnn.proof.bounds.winograd_bound` says how far each may be off.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache, reduce
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jcnn.geometry import Geometry
from jcnn.lowering.blocks import block_bytes, block_size, map_blocks, sum_blocks
from jcnn.lowering.windows import adjoint, flipped

Points = tuple[int | Fraction, ...]
# Evaluated at 0 and "at infinity" first, then at pairs of opposite numbers.
PAIRS: Points = (1, 2, Fraction(1, 2))
# The same, of windows of 3, for transforms that are rounded to bfloat16: less than half the error.
ROUNDED: Points = (Fraction(5, 8), Fraction(3, 2))
Matrix = list[list[Fraction]]
TILE = 4
# Of the cache, for the transforms of a block of images: with less, the transformed kernels, which
# every block reads from memory, take longer than the products.
SHARE = 1 / 4


def correlate(g: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    """Correlation: y = A' [(G w) * (B' x)]."""
    kernels = _kernels(g, w)

    def block(x: jax.Array) -> jax.Array:
        products = jnp.einsum("epc,ecd->epd", _inputs(g, x), kernels)
        products = products.reshape(-1, g.groups, *products.shape[1:])
        return _from_tiles(g, _transform(_matrix(g, 0), products))

    return map_blocks(block, _images_a_block(g, x, w.shape), x)


def input_gradient(g: Geometry, dy: jax.Array, w: jax.Array) -> jax.Array:
    """Its adjoint in x: dx = B [(A dy) * (G w)], or dy correlated with the flipped kernel.

    The first has tiles of dy, the second of dx, which is larger where there is less padding.
    """
    if not by_tiles_of_outputs(g):
        return correlate(adjoint(g), dy, flipped(g, w))
    kernels = _kernels(g, w)

    def block(dy: jax.Array) -> jax.Array:
        products = jnp.einsum("epd,ecd->epc", _cotangents(g, dy), kernels)
        return _add_tiles(g, _side_by_side(g, products), len(dy))

    return map_blocks(block, _images_a_block(g, dy, w.shape), dy)


def by_tiles_of_outputs(g: Geometry) -> bool:
    """Whether an input gradient has so many fewer tiles of dy that they are worth adding.

    A tile whose results overlap its neighbours' takes a quarter longer.
    """
    return 5 * prod(tile_counts(g)) <= 4 * prod(tile_counts(adjoint(g)))


def kernel_gradient(g: Geometry, x: jax.Array, dy: jax.Array) -> jax.Array:
    """Its adjoint in w: dw = G' [(A dy) * (B' x)]."""

    def block(x: jax.Array, dy: jax.Array) -> jax.Array:
        return jnp.einsum("epc,epd->ecd", _inputs(g, x), _cotangents(g, dy))

    c, d = x.shape[-1] // g.groups, dy.shape[-1]
    kernel, shape = (*g.window, c, d), (tile_elements(g) * g.groups, c, d // g.groups)
    products = sum_blocks(block, _images_a_block(g, x, kernel), shape, x, dy)
    return _transform(_matrix(g, 1).T, _side_by_side(g, products)).reshape(kernel)


def _images_a_block(g: Geometry, a: jax.Array, kernel: tuple[int, ...]) -> int:
    """Images whose transforms stay in cache, and more where large kernels are read for each block.

    Whole batches took twice as long.
    """
    elements = tile_elements(g) * a.dtype.itemsize
    (channels, features), block = kernel[-2:], block_bytes(SHARE)
    kernels = elements * channels * features
    images = elements * prod(tile_counts(g)) * (channels * g.groups + features)
    return block_size(a.shape[0], images, max(block, min(4 * kernels, 4 * block)))


@cache
def matrices(m: int, r: int, pairs: Points = PAIRS) -> tuple[Matrix, Matrix, Matrix]:
    """A' (m, a), G (a, r) and B' (a, a) of F(m, r), exactly: evaluation at points (Toom and Cook).

    With V_n the powers 0 to n - 1 of the points (and the leading coefficient, "at infinity"), the
    product of polynomials is V_a^-1 [(V_r w) * (V_m y)]; its transpose is the correlation. Row p of
    V_a^-T holds the coefficients of the product of (z - q) over the other points q, divided by
    its value at p, which is moved to G: so B' keeps small integers, which halves the rounding.
    """
    a = m + r - 1
    points = [Fraction(0), *(Fraction(s * p) for p in pairs for s in (1, -1))][: a - 1]

    def powers(n: int) -> list[list[Fraction]]:
        first, *rest = ([p**i for i in range(n)] for p in points)
        return [first, [Fraction(i == n - 1) for i in range(n)], *rest]

    others = [[q for q in points if q != p] for p in points]
    scale = [
        prod((p - q for q in qs), start=Fraction(1)) for p, qs in zip(points, others, strict=True)
    ]
    first, *rest = (_coefficients(qs, a) for qs in others)
    scales = [scale[0], Fraction(1), *scale[1:]]
    g = [[entry / s for entry in row] for row, s in zip(powers(r), scales, strict=True)]
    transposed = [list(column) for column in zip(*powers(m), strict=True)]
    return transposed, g, [first, _coefficients(points, a), *rest]


def _coefficients(roots: Sequence[Fraction], count: int) -> list[Fraction]:
    """Coefficients 0 to ``count`` - 1 of the polynomial with the given roots, 1 leading."""
    row = [Fraction(1)]
    for q in roots:
        row = [low - q * high for low, high in zip([0, *row], [*row, 0], strict=True)]
    return [*row, *[Fraction(0)] * (count - len(row))]


@cache
def _matrices(m: int, r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    a, g, b = (np.array([[float(e) for e in row] for row in x]) for x in matrices(m, r))
    return a, g, b


def _matrix(g: Geometry, which: int) -> np.ndarray:
    """The transform of a whole tile: the Kronecker product of those of its axes."""
    return reduce(np.kron, (_matrices(TILE, r)[which] for r in g.window))


def _transform(matrix: np.ndarray, tiles: jax.Array) -> jax.Array:
    """The matrix times (elements of a tile, ...)."""
    return jnp.tensordot(jnp.asarray(matrix, tiles.dtype), tiles, 1)


def _kernels(g: Geometry, w: jax.Array) -> jax.Array:
    """G w, (a^2 groups, C / groups, D / groups)."""
    return _by_group(g, _transform(_matrix(g, 1), lax.collapse(w, 0, g.rank)))


def _cotangents(g: Geometry, dy: jax.Array) -> jax.Array:
    """A dy for every tile, (a^2 groups, tiles, D / groups)."""
    return lax.collapse(_transform(_matrix(g, 0).T, _to_tiles(g, dy)), 0, 2)


def _inputs(g: Geometry, x: jax.Array) -> jax.Array:
    """B' x for every tile, (a^2 groups, tiles, C / groups).

    The tiles overlap; sums of views, axis by axis, avoid writing them out.
    """
    tiles = tile_counts(g)
    edges = [
        (lo, (t + 1) * TILE - size - lo, 0)
        for (lo, _), t, size in zip(g.padding, tiles, g.size, strict=True)
    ]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    for axis, (t, r) in enumerate(zip(tiles, g.window, strict=True)):
        # Each axis done has added one in front, the elements of the tiles.
        place = 2 * axis + 1
        blocks = x.reshape(*x.shape[:place], t + 1, TILE, *x.shape[place + 1 :])
        combine = _sparsely if axis == 0 else _densely
        x = combine(_matrices(TILE, r)[2], blocks, place, axis)
    return _by_group(g, x.reshape(tile_elements(g), -1, x.shape[-1]))


def _view(blocks: jax.Array, place: int, first: int, count: int) -> jax.Array:
    """Elements ``first`` to ``first + count - 1`` of every tile: of its block or of the next."""
    start, limit = [0] * blocks.ndim, list(blocks.shape)
    start[place : place + 2] = divmod(first, TILE)
    limit[place : place + 2] = start[place] + blocks.shape[place] - 1, start[place + 1] + count
    return lax.slice(blocks, start, limit)


def _densely(
    matrix: np.ndarray, blocks: jax.Array, place: int, axis: int, first: int = 0
) -> jax.Array:
    """The matrix times the elements from ``first`` on, its rows along ``axis``: a single loop."""

    def term(i: int) -> jax.Array:
        view = lax.squeeze(_view(blocks, place, first + i, 1), (place + 1,))
        return _outer(matrix[:, i], view, axis)

    return reduce(lax.add, map(term, range(matrix.shape[1])))


def _outer(column: np.ndarray, view: jax.Array, axis: int) -> jax.Array:
    """The products of a column's entries, along a new axis, and the view's."""
    shape = (*view.shape[:axis], len(column), *view.shape[axis:])
    others = [n for n in range(len(shape)) if n != axis]
    entries = lax.broadcast_in_dim(column.astype(view.dtype), shape, (axis,))
    return lax.mul(entries, lax.broadcast_in_dim(view, shape, others))


def _sparsely(matrix: np.ndarray, blocks: jax.Array, place: int, axis: int) -> jax.Array:
    """The same in two loops that leave its zeros out, faster as the first of two axes.

    The rows of 0 and infinity are the same polynomial, an element apart; the others have
    neither the first element nor the last. A loop per row is no faster, and slow to compile.
    """
    even = range(0, matrix.shape[1], 2)
    terms = (float(matrix[0, i]) * _view(blocks, place, i, 2) for i in even)
    outer = jnp.moveaxis(reduce(lax.add, terms), place + 1, axis)
    inner = _densely(matrix[2:, 1:-1], blocks, place, axis, first=1)
    return lax.concatenate([outer, inner], axis)


def _add_tiles(g: Geometry, tiles: jax.Array, images: int) -> jax.Array:
    """Adjoint of _inputs: B times (a^2, tiles, C), added where tiles overlap, (N, *size, C)."""
    x = tiles.reshape(*(TILE + r - 1 for r in g.window), images, *tile_counts(g), -1)
    for axis in reversed(range(g.rank)):
        # Each axis done has joined the elements of its tiles, which were in front.
        place = 2 * axis + 1
        x = _overlapping(_matrices(TILE, g.window[axis])[2], x, axis, place)
        x = lax.collapse(x, place, place + 2)
    edges = (
        (-lo, size + lo - n, 0)
        for (lo, _), size, n in zip(g.padding, g.size, x.shape[1:], strict=False)
    )
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])


def _overlapping(matrix: np.ndarray, x: jax.Array, axis: int, place: int) -> jax.Array:
    """The matrix's transpose times the elements along ``axis``, tiles along ``place`` then.

    (..., t + 1, TILE, ...) at ``place``: each of these blocks sees its own tile and the one before.
    """
    one_more = [(1, 1, 0) if n == place + 1 else (0, 0, 0) for n in range(x.ndim)]
    x = lax.pad(x, jnp.zeros((), x.dtype), one_more)
    columns = np.zeros((len(matrix), 2 * TILE))
    columns[:, : len(matrix)] = matrix

    def term(e: int, first: int) -> jax.Array:
        view = lax.index_in_dim(x, e, axis, keepdims=False)
        view = lax.slice_in_dim(view, first, view.shape[place] - 1 + first, axis=place)
        return _outer(columns[e, TILE * (1 - first) :][:TILE], view, place + 1)

    return reduce(lax.add, (term(e, first) for e in range(len(matrix)) for first in (1, 0)))


def _by_group(g: Geometry, a: jax.Array) -> jax.Array:
    """(a^2, n, channels) to (a^2 groups, n, channels / groups)."""
    if g.groups == 1:
        return a
    a = a.reshape(*a.shape[:2], g.groups, -1)
    return lax.collapse(lax.transpose(a, (0, 2, 1, 3)), 0, 2)


def _side_by_side(g: Geometry, a: jax.Array) -> jax.Array:
    """The inverse of _by_group."""
    if g.groups == 1:
        return a
    a = lax.transpose(a.reshape(-1, g.groups, *a.shape[1:]), (0, 2, 1, 3))
    return lax.collapse(a, 2)


def _to_tiles(g: Geometry, dy: jax.Array) -> jax.Array:
    """(N, *output, D) to (m^2, groups, tiles, D / groups)."""
    tiles, rank = tile_counts(g), g.rank
    edges = [(0, t * TILE - m, 0) for t, m in zip(tiles, g.output, strict=True)]
    dy = lax.pad(dy, jnp.zeros((), dy.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    dy = dy.reshape(dy.shape[0], *(n for t in tiles for n in (t, TILE)), g.groups, -1)
    inner, outer = range(2, 2 * rank + 1, 2), range(1, 2 * rank, 2)
    dy = lax.transpose(dy, (*inner, 2 * rank + 1, 0, *outer, 2 * rank + 2))
    return dy.reshape(TILE**rank, g.groups, -1, dy.shape[-1])


def _from_tiles(g: Geometry, y: jax.Array) -> jax.Array:
    """(m^2, groups, tiles, D / groups) to (N, *output, D)."""
    tiles, rank = tile_counts(g), g.rank
    y = y.reshape(*(TILE,) * rank, g.groups, -1, *tiles, y.shape[-1])
    axes = (n for i in range(rank) for n in (rank + 2 + i, i))
    y = lax.transpose(y, (rank + 1, *axes, rank, 2 * rank + 2))
    y = y.reshape(y.shape[0], *(t * TILE for t in tiles), -1)
    return y[(slice(None), *map(slice, g.output))]


def tile_counts(g: Geometry) -> tuple[int, ...]:
    """Tiles along each axis."""
    return tuple(-(-m // TILE) for m in g.output)


def tile_elements(g: Geometry) -> int:
    """a^2: elements of a whole tile."""
    return prod(TILE + r - 1 for r in g.window)
