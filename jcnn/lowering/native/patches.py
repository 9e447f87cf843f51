"""Patches by compiled loops: y = patches(x) w, dw = patches(x)' dy, a block at a time.

The formulas are those of :mod:`jcnn.lowering.patches`, of each group; the patches are read where
they lie, in a block's copy of the images with its edges, or in the images where there are no edges.
"""

from __future__ import annotations

from math import prod
from types import ModuleType

import jax

from jcnn.geometry import Geometry
from jcnn.lowering import patches, xla
from jcnn.lowering.native.calls import call, parts, serves, whole, workers
from jcnn.lowering.windows import adjoint, flipped

# Of a block of images, beside which kernels are to stay in a core's own cache.
SEEN_BYTES = 256 << 10
# Positions of a block whose images and cotangents are read again for each element of the kernel.
SUMMED = 128
# Blocks per worker, at least, so that none waits long for the last.
BLOCKS = 4


def correlate(g: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    """Y = patches(x) w."""
    if not serves(x):
        return _plain(g).correlate(g, x, w)
    d = w.shape[-1]
    kernels = (g.groups, g.taps * w.shape[-2], whole(d // g.groups))
    block, room = _block(g, x.shape, 0, len(x) * prod(g.output))
    return call("patches", "correlate", g, x, w, (len(x), *g.output, d), kernels, block, room)


def input_gradient(g: Geometry, dy: jax.Array, w: jax.Array) -> jax.Array:
    """At stride 1: dy correlated with the flipped kernel."""
    return correlate(adjoint(g), dy, flipped(g, w))


def kernel_gradient(g: Geometry, x: jax.Array, dy: jax.Array) -> jax.Array:
    """Dw = patches(x)' dy."""
    if not serves(x):
        return _plain(g).kernel_gradient(g, x, dy)
    c, d = x.shape[-1] // g.groups, dy.shape[-1]
    sums = (g.groups, g.taps * c, whole(d // g.groups))
    sums = (parts(sums[0] * sums[1] * sums[2]), *sums)
    block, room = _block(g, x.shape, sums[-1], SUMMED)
    return call("patches", "kernel_gradient", g, x, dy, (*g.window, c, d), sums, block, room)


def _plain(g: Geometry) -> ModuleType:
    return patches if g.groups == 1 else xla


def _block(g: Geometry, images: tuple[int, ...], wide: int, most: int) -> tuple[int, int]:
    """Positions of a block, and the elements of room that it needs, ``wide`` for each of them."""
    height, width = (1, *g.output)[-2:]
    lines = images[0] * height
    most = min(most, max(1, lines * width // (workers() * BLOCKS)))
    columns = width
    while columns > 1 and (columns > most or _seen(g, 1, columns) * images[-1] * 4 > SEEN_BYTES):
        columns = -(-columns // 2)
    count = 1
    if columns == width:
        count = max(1, most // width)
        while count > 1 and _seen(g, count, columns) * images[-1] * 4 > SEEN_BYTES:
            count = -(-count // 2)
    return columns * count, _seen(g, count, columns) * images[-1] + columns * count * wide


def _seen(g: Geometry, lines: int, columns: int) -> int:
    """Pixels that the windows of so many lines and columns see, edges included, at most."""
    (stride, across), (reach, wide) = (((1, *pair))[-2:] for pair in (g.strides, g.span))
    height = (1, *g.output)[-2]
    images = min(lines, (lines - 2) // height + 2)
    rows = (lines - images) * stride + images * max(reach, stride)
    return rows * ((columns - 1) * across + wide)
