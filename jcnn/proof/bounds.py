r"""How far rounding may carry an element of a minimal filter, rigorously.

:mod:`jcnn.lowering.winograd` computes :math:`y = A' [(G w) \odot (B' x)]` tile by tile. Each number
that it adds up has passed through a fixed chain of roundings, and each rounding changes it by a
factor of :math:`1 + \delta`, :math:`|\delta| \le u` (:math:`2^{-24}` in float32). With n the length
of the longest chain, in whatever order the sums run and fused or not,

.. math::
    |\hat y - y| \le \gamma_n \; |A'| \, [(|G| |w|) \odot (|B'| |x|)], \qquad
    \gamma_n = \frac{n u}{1 - n u}

(Higham, *Accuracy and Stability of Numerical Algorithms*, chapter 3), and likewise for the two
adjoints. A sum of k products rounds k times at most, a rounded matrix entry once more; so with
tiles of a inputs and m outputs, windows of r and d axes, n is the sum of

- :math:`r^d + 1` for :math:`G w`, :math:`d (a + 1)` for :math:`B' x`, axis by axis,
- the number of terms: channels per group, or for a kernel's gradient all tiles of the batch,
- :math:`a^d + 1` for :math:`A'` (for a kernel's gradient :math:`m^d + 1` for :math:`A \delta` in
  place of the first, and :math:`a^d + 1` for :math:`G'`; for an input's by tiles of
  :math:`\delta`, :math:`m^d + 1` in place of the second, and :math:`d (2 a + 1)` for :math:`B`,
  whose tiles overlap).

On top comes what is lost where a number falls below the smallest normal one, :math:`2^{-126}`,
and is flushed to zero: some 1e-36, unless values are huge. Overflow is not bounded.

Where the factors of the products are rounded to bfloat16 first, by at most :math:`f = 2^{-8}` each,
as compiled loops do under ``jax.default_matmul_precision("bfloat16")``, :math:`\gamma_n` becomes
:math:`(1 + \gamma_n)(1 + f)^2 - 1`, and the matrices are those of other points.

The magnitudes are those of a whole tile: one large pixel disturbs the outputs of its tile, also
those whose windows don't hold it. XLA's convolution has the bound :math:`\gamma_k` times the
magnitudes of an element's own k products.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import NamedTuple

import numpy as np

from jcnn.lowering import Geometry
from jcnn.lowering.winograd import (
    PAIRS,
    ROUNDED,
    TILE,
    Points,
    by_tiles_of_outputs,
    matrices,
)

UNIT = 2.0**-24
TINY = 2.0**-126


class Rounding(NamedTuple):
    """How a filter rounds beside its float32 operations.

    Attributes:
        points: Pairs of points at which it evaluates.
        factor: By how much each factor of its products is off at most, relative to it.
    """

    points: Points = PAIRS
    factor: float = 0.0


FLOAT32 = Rounding()
BFLOAT16 = Rounding(ROUNDED, 2.0**-8)


def winograd_bound(
    operation: str, g: Geometry, a: np.ndarray, b: np.ndarray, how: Rounding = FLOAT32
) -> np.ndarray:
    """Bound the error of each element that minimal filtering gives in float32.

    Args:
        operation: "correlate" of x and w, "input_gradient" of dy and w, "kernel_gradient" of x and
            dy, as in :mod:`jcnn.lowering`.
        g: The correlation's geometry: dilation 1, an odd window, or strides that are folded into
            channels first.
        a: The first array.
        b: The second.
        how: :data:`FLOAT32`, or :data:`BFLOAT16` where factors may be rounded to it; those of
            other windows than 3x3, folded ones among them, never are.

    Returns:
        One bound per element of the result, float64.

    >>> g = Geometry((6, 6), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    >>> bound = winograd_bound("correlate", g, np.ones((1, 6, 6, 8)), np.ones((3, 3, 8, 4)))
    >>> bound.shape, bool(bound.max() < 0.1)
    ((1, 6, 6, 4), True)
    """
    if any(map(any, g.excess)):
        return _beyond_reach(operation, g, a, b, how)
    if max(g.strides) > 1:
        return _folded(operation, g, a, b, how)
    if g.groups > 1:
        one = Geometry(g.size, g.window, g.strides, g.padding, g.dilation)
        pairs = zip(*(np.split(array, g.groups, -1) for array in (a, b)), strict=True)
        return np.concatenate([winograd_bound(operation, one, x, y, how) for x, y in pairs], -1)
    if set(g.window) != {3}:
        how = FLOAT32
    a, b = (np.abs(array).astype(np.float64) for array in (a, b))
    if operation == "kernel_gradient":
        flushed = _flushed(g, (0, 2, 1), b, a, len(a) * _count(g), how)
        return _kernel_gradient(g, a, b, how) + flushed
    if operation == "correlate":
        return _correlated(g, a, b, how)
    pads = [(k - 1 - lo, k - 1 - hi) for k, (lo, hi) in zip(g.window, g.padding, strict=True)]
    turned = Geometry(g.output, g.window, g.strides, tuple(pads), g.dilation)
    bound = _correlated(turned, a, np.swapaxes(np.flip(b, tuple(range(g.rank))), -1, -2), how)
    if how.factor or not by_tiles_of_outputs(g):
        return bound
    # Compiled loops correlate there as well: one bound for both.
    added = _added(g, a, b, how) + 2**g.rank * _flushed(g, (1, 0, 2), b, a, a.shape[-1], how)
    return np.maximum(bound, added)


def _correlated(g: Geometry, a: np.ndarray, b: np.ndarray, how: Rounding) -> np.ndarray:
    return _correlate(g, a, b, how) + _flushed(g, (1, 2, 0), b, a, a.shape[-1], how)


def _beyond_reach(
    operation: str, g: Geometry, a: np.ndarray, b: np.ndarray, how: Rounding
) -> np.ndarray:
    """Padding beyond the windows' reach is made part of the input, as the lowerings make it."""
    if operation != "input_gradient":
        a = np.pad(a, ((0, 0), *g.excess, (0, 0)))
    bound = winograd_bound(operation, g.within_reach(), a, b, how)
    if operation != "input_gradient":
        return bound
    inner = (slice(lo, lo + n) for (lo, _), n in zip(g.excess, g.size, strict=True))
    return bound[(slice(None), *inner)]


def _folded(operation: str, g: Geometry, a: np.ndarray, b: np.ndarray, how: Rounding) -> np.ndarray:
    """That of blocks of one stride each as channels: elements change places, none is rounded."""
    window = [-(-k // s) | 1 for k, s in zip(g.window, g.strides, strict=True)]
    size = [m + k - 1 for m, k in zip(g.output, window, strict=True)]
    one = (1,) * g.rank
    folded = Geometry(tuple(size), tuple(window), one, ((0, 0),) * g.rank, one)
    image = partial(_in_blocks, g, 1, size, [lo for lo, _ in g.padding])
    kernel = partial(_in_blocks, g, 0, window, [0] * g.rank)
    if operation == "correlate":
        return winograd_bound(operation, folded, image(a), kernel(b), how)
    if operation == "input_gradient":
        shape, fold = (len(a), *g.size, b.shape[-2]), image
        bound = winograd_bound(operation, folded, a, kernel(b), how)
    else:
        shape, fold = (*g.window, a.shape[-1], b.shape[-1]), kernel
        bound = winograd_bound(operation, folded, image(a), b, how)
    places = fold(np.arange(1, prod(shape) + 1).reshape(shape))
    unfolded = np.zeros(prod(shape) + 1)
    unfolded[places] = bound
    return unfolded[1:].reshape(shape)


def _in_blocks(
    g: Geometry, first: int, count: list[int], before: list[int], a: np.ndarray
) -> np.ndarray:
    """The axes from ``first`` on, zeros around them, as so many blocks of a stride: (*count, C)."""
    whole = [m * s for m, s in zip(count, g.strides, strict=True)]
    behind = a.shape[first + g.rank :]
    kept = [slice(None, n - lo) for n, lo in zip(whole, before, strict=True)]
    a = a[(slice(None),) * first + tuple(kept)]
    edges = zip(before, whole, a.shape[first:], strict=False)
    pads = [(lo, n - lo - size) for lo, n, size in edges]
    a = np.pad(a, [(0, 0)] * first + pads + [(0, 0)] * len(behind))
    pairs = (n for pair in zip(count, g.strides, strict=True) for n in pair)
    a = a.reshape(*a.shape[:first], *pairs, *behind)
    blocks, within = (range(first + i, first + 2 * g.rank, 2) for i in (0, 1))
    a = a.transpose(*range(first), *blocks, *within, *range(first + 2 * g.rank, a.ndim))
    return a.reshape(*a.shape[:first], *count, prod(g.strides) * behind[0], *behind[1:])


def _correlate(g: Geometry, x: np.ndarray, w: np.ndarray, how: Rounding) -> np.ndarray:
    kernels = _transformed(g, how, 1, np.moveaxis(w, (-2, -1), (0, 1)))
    inputs = _transformed(g, how, 2, _tiles(g, x))
    products = np.einsum("ntce,cde->ntde", inputs, kernels, optimize=True)
    y = _transformed(g, how, 0, products.reshape(*products.shape[:-1], *_lengths(g)))
    spread = [-(-m // TILE) for m in g.output]
    y = y.reshape(x.shape[0], *spread, w.shape[-1], *(TILE,) * g.rank)
    order = (n for i in range(g.rank) for n in (1 + i, 2 + g.rank + i))
    y = np.transpose(y, (0, *order, 1 + g.rank))
    y = y.reshape(x.shape[0], *(n * TILE for n in spread), w.shape[-1])
    chain = _first(g) + x.shape[-1] + prod(g.window) + 1 + _last(g)
    return _gamma(chain, how) * y[(slice(None), *map(slice, g.output))]


def _kernel_gradient(g: Geometry, x: np.ndarray, dy: np.ndarray, how: Rounding) -> np.ndarray:
    inputs = _transformed(g, how, 2, _tiles(g, x))
    outputs = _transformed(g, how, 0, _tiles(g, dy, outputs=True), transposed=True)
    products = np.einsum("ntce,ntde->cde", inputs, outputs, optimize=True)
    products = products.reshape(*products.shape[:-1], *_lengths(g))
    dw = _transformed(g, how, 1, products, transposed=True).reshape(*products.shape[:2], *g.window)
    terms = inputs.shape[0] * inputs.shape[1]
    chain = _first(g) + terms + TILE**g.rank + 1 + _last(g)
    return _gamma(chain, how) * np.moveaxis(dw, (0, 1), (-2, -1))


def _added(g: Geometry, dy: np.ndarray, w: np.ndarray, how: Rounding) -> np.ndarray:
    """An input's gradient by tiles of dy, added where they overlap."""
    kernels = _transformed(g, how, 1, np.moveaxis(w, (-2, -1), (0, 1)))
    outputs = _transformed(g, how, 0, _tiles(g, dy, outputs=True), transposed=True)
    products = np.einsum("ntde,cde->ntce", outputs, kernels, optimize=True)
    products = products.reshape(*products.shape[:-1], *_lengths(g))
    tiles = _transformed(g, how, 2, products, transposed=True)
    count = [-(-m // TILE) for m in g.output]
    tiles = tiles.reshape(len(dy), *count, w.shape[-2], *_lengths(g))
    dx = np.zeros((len(dy), *((t + 1) * TILE for t in count), w.shape[-2]))
    for tile in np.ndindex(*count):
        at = (slice(t * TILE, t * TILE + n) for t, n in zip(tile, _lengths(g), strict=True))
        dx[(slice(None), *at)] += np.moveaxis(tiles[(slice(None), *tile)], 1, -1)
    whole = zip(g.padding, g.size, dx.shape[1:], strict=False)
    dx = _resized(dx, [(-lo, lo + size - n) for (lo, _), size, n in whole])
    last = sum(2 * n + 1 for n in _lengths(g))
    chain = TILE**g.rank + 1 + dy.shape[-1] + prod(g.window) + 1 + last
    return _gamma(chain, how) * dx


def _flushed(
    g: Geometry,
    stages: tuple[int, int, int],
    a: np.ndarray,
    x: np.ndarray,
    terms: int,
    how: Rounding,
) -> float:
    """What flushing changes at most: each input and each operation is off by TINY.

    Carried through the stages (the matrices of a, of x and of their products) by the largest sums
    of a row, or of a column where that is larger, and doubled for the roundings on the way.
    """
    sums = [
        prod(float(max(m.sum(0).max(), m.sum(1).max())) for m in _magnitudes(g, which, how))
        for which in stages
    ]
    largest = [norm * b.max(initial=0.0) for norm, b in zip(sums, (a, x), strict=False)]
    # The input once, and two operations per entry of a row; no sum is below 1.
    off = [TINY * norm * (1 + 2 * prod(_lengths(g))) for norm in sums]
    product = off[0] * largest[1] + largest[0] * off[1] + off[0] * off[1] + 2 * TINY
    return 2 * (sums[2] * terms * product + off[2])


def _first(g: Geometry) -> int:
    """Roundings in B' x."""
    return sum(n + 1 for n in _lengths(g))


def _last(g: Geometry) -> int:
    """Roundings in A', or in G', of the products."""
    return prod(_lengths(g)) + 1


def _gamma(n: int, how: Rounding) -> float:
    """By how much a chain of so many roundings is off, and the two factors of its products."""
    gamma, f = n * UNIT / (1 - n * UNIT), how.factor
    return gamma + (1 + gamma) * (2 * f + f * f)


def _count(g: Geometry) -> int:
    """Tiles of an image."""
    return prod(-(-m // TILE) for m in g.output)


def _magnitudes(g: Geometry, which: int, how: Rounding) -> list[np.ndarray]:
    """|A'|, |G| or |B'| along each axis."""
    return [np.abs(np.array(matrices(TILE, r, how.points)[which], np.float64)) for r in g.window]


def _lengths(g: Geometry) -> list[int]:
    """a: elements of a tile along each axis."""
    return [TILE + r - 1 for r in g.window]


def _tiles(g: Geometry, a: np.ndarray, outputs: bool = False) -> np.ndarray:
    """(N, tiles, channels, *tile): of the padded input, overlapping, or of the output."""
    count = [-(-m // TILE) for m in g.output]
    lengths = [TILE] * g.rank if outputs else _lengths(g)
    pads = [(0, 0)] * g.rank if outputs else g.padding
    edges = [
        (lo, TILE * (t - 1) + n - size - lo)
        for (lo, _), t, n, size in zip(pads, count, lengths, a.shape[1:-1], strict=True)
    ]
    a = _resized(a, edges)
    axes = tuple(range(1, g.rank + 1))
    seen = np.lib.stride_tricks.sliding_window_view(a, lengths, axes)
    seen = seen[(slice(None), *(slice(None, None, TILE) for _ in axes))]
    return seen.reshape(a.shape[0], -1, *seen.shape[g.rank + 1 :])


def _resized(a: np.ndarray, edges: Sequence[tuple[int, int]]) -> np.ndarray:
    """Zeros before and after each axis from the second on; a negative number crops."""
    crop = (slice(max(0, -lo), min(hi, 0) or None) for lo, hi in edges)
    grown = ((max(0, lo), max(0, hi)) for lo, hi in edges)
    return np.pad(a[(slice(None), *crop)], ((0, 0), *grown, (0, 0)))


def _transformed(
    g: Geometry, how: Rounding, which: int, a: np.ndarray, transposed: bool = False
) -> np.ndarray:
    """The magnitudes of A', G or B' (or a transpose) along the last axes, which become one."""
    for axis, matrix in enumerate(_magnitudes(g, which, how)):
        matrix = matrix.T if transposed else matrix
        place = a.ndim - g.rank + axis
        a = np.moveaxis(np.tensordot(matrix, a, (1, place)), 0, place)
    return a.reshape(*a.shape[: a.ndim - g.rank], -1)
