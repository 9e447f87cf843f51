"""Patches by compiled loops: y = patches(x) w, dw = patches(x)' dy, a block at a time.

The formulas are those of :mod:`jcnn.lowering.patches`, of each group; the patches are read where
they lie, in a block's copy of the images with its edges, or in the images where there are no edges.
Vectors hold features, or, of few features, outputs beside each other.
"""

from __future__ import annotations

from math import prod
from types import ModuleType

import jax

from jcnn.geometry import Geometry
from jcnn.lowering import patches, xla
from jcnn.lowering.native import library
from jcnn.lowering.native.calls import (
    adjoint_kernel,
    by_residues,
    call,
    parts,
    serves,
    whole,
    workers,
)
from jcnn.lowering.windows import adjoint

# Of a block of images, beside which kernels are to stay in a core's own cache.
SEEN_BYTES = 256 << 10
# Positions of a block whose images and cotangents are read again for each element of the kernel.
SUMMED = 128
# Of sums that stay in a core's own cache. Of more there is one for all cores, each of which takes
# some of its rows, and blocks have so many positions: all sums are read and written again for each.
OWN_BYTES = 512 << 10
TOGETHER = 256
# Outputs of a line that a block has at least, so that products have rows to share.
COLUMNS = 96
# Blocks per worker, at least, so that none waits long for the last.
BLOCKS = 4
SHARED = 3  # features whose sums few.h takes together


def correlate(g: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    """Y = patches(x) w."""
    if not serves(x):
        return _plain(g).correlate(g, x, w)
    d = w.shape[-1]
    kernels = (g.groups, g.taps * w.shape[-2], whole(d // g.groups))
    kind = "few" if are_few(g, d, library.lanes()) else "patches"
    block, room = _block(kind, g, x.shape, 0, len(x) * prod(g.output))
    return call(kind, "correlate", g, x, w, (len(x), *g.output, d), kernels, block, room)


def input_gradient(g: Geometry, dy: jax.Array, w: jax.Array) -> jax.Array:
    """Dy correlated with the flipped kernel; at strides by :mod:`residues`, one after another."""
    if max(g.strides) == 1:
        return correlate(adjoint(g), dy, adjoint_kernel(g, w))
    if not serves(dy):
        return xla.input_gradient(g, dy, w)
    c, d = w.shape[-2], dy.shape[-1] // g.groups

    def needs(h: Geometry) -> tuple[tuple[int, ...], int, int]:
        kernels = (g.groups, h.taps * d, whole(c))
        return kernels, *_block("patches", h, dy.shape, 0, len(dy) * prod(h.output))

    return by_residues("patches", g, dy, w, needs)


def kernel_gradient(g: Geometry, x: jax.Array, dy: jax.Array) -> jax.Array:
    """Dw = patches(x)' dy."""
    if not serves(x):
        return _plain(g).kernel_gradient(g, x, dy)
    c, d = x.shape[-1] // g.groups, dy.shape[-1]
    depth = whole(d // g.groups)
    sums = (g.groups, g.taps * c, depth)
    if 4 * prod(sums) > OWN_BYTES:
        block, room = _shared(g, x.shape, depth)
        strips = -(-prod(sums[:2]) // library.rows())
        sums = (-(-workers() // strips), *sums)
        sums = (1,) if (sums[0], g.groups, depth) == (1, 1, d) else sums  # they are taken in dw
    else:
        block, room = _block("patches", g, x.shape, depth, SUMMED)
        sums = (parts(prod(sums)), *sums)
    return call("patches", "kernel_gradient", g, x, dy, (*g.window, c, d), sums, block, room)


def _plain(g: Geometry) -> ModuleType:
    return patches if g.groups == 1 else xla


def are_few(g: Geometry, features: int, lanes: int) -> bool:
    """Whether features fill less than half of a vector; outputs lie beside each other at stride 1.

    A vector of outputs is read from wherever the window is, across two lines of the cache; of a
    window of one pixel only once, for which nothing is laid out anew.
    """
    each = features // g.groups
    return g.taps > 1 and g.strides[-1] == 1 and 2 * each < -(-each // lanes) * lanes


def _block(
    kind: str, g: Geometry, images: tuple[int, ...], wide: int, most: int
) -> tuple[int, int]:
    """Positions of a block, and the elements of room that it needs, ``wide`` for each of them."""
    height, width = (1, *g.output)[-2:]
    most = min(most, max(1, images[0] * height * width // (workers() * BLOCKS)))

    def room(lines: int, columns: int) -> int:
        rows, pixels = _seen(g, lines, columns)
        if kind == "patches":
            return rows * pixels * images[-1] + lines * columns * wide
        lanes = library.lanes()
        return (rows * (pixels + lanes) + pixels) * images[-1] + SHARED * (columns + lanes)

    columns = min(width, max(most, COLUMNS))
    while columns > COLUMNS and 4 * room(1, columns) > SEEN_BYTES:
        columns = max(COLUMNS, -(-columns // 2))
    lines = max(1, most // width) if columns == width else 1
    while lines > 1 and 4 * room(lines, columns) > SEEN_BYTES:
        lines = -(-lines // 2)
    return columns * lines, room(lines, columns)


def _shared(g: Geometry, images: tuple[int, ...], wide: int) -> tuple[int, int]:
    """Positions of a block of one sum for all cores, and the elements of room that it needs."""
    height, width = (1, *g.output)[-2:]
    columns = min(width, TOGETHER)
    lines = max(1, min(TOGETHER // columns, images[0] * height))
    rows, pixels = _seen(g, lines, columns)
    copied = rows * pixels * images[-1] if g.groups > 1 or any(map(any, g.padding)) else 0
    return columns * lines, copied + columns * lines * wide


def _seen(g: Geometry, lines: int, columns: int) -> tuple[int, int]:
    """Rows and pixels that the windows of so many lines and columns see, edges included."""
    (stride, across), (reach, wide) = (((1, *pair))[-2:] for pair in (g.strides, g.span))
    images = min(lines, (lines - 2) // (1, *g.output)[-2] + 2)
    rows = (lines - images) * stride + images * max(reach, stride)
    return rows, (columns - 1) * across + wide
