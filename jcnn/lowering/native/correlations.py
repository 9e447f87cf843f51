"""The three correlations by compiled loops: see :mod:`jcnn.lowering.native`."""

from __future__ import annotations

from math import prod

import jax
import jax.numpy as jnp
import numpy as np

from jcnn.geometry import Geometry
from jcnn.lowering import winograd
from jcnn.lowering.native import library
from jcnn.lowering.policy import Policy
from jcnn.lowering.windows import adjoint, flipped
from jcnn.lowering.winograd import TILE

# Of each core, for the transforms of a block of tiles: cores have 0.5 to 2 MB of cache that is
# their own, and a larger block reads the transformed kernels less often.
ROOM_BYTES = 2 << 20
# At least so many groups of rows a block, for which the kernels, or their sums, are read.
GROUPS = 3


def correlate(g: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    """y = A' [(G w) * (B' x)]."""
    if not _serves(x):
        return winograd.correlate(g, x, w)
    result = (x.shape[0], *g.output, w.shape[-1])
    kernels = (winograd.tile_elements(g), w.shape[-2], _whole(w.shape[-1]))
    return _call("correlate", g, x, w, result, kernels)


def input_gradient(g: Geometry, dy: jax.Array, w: jax.Array) -> jax.Array:
    """dy correlated with the flipped kernel."""
    return correlate(adjoint(g), dy, flipped(g, w))


def kernel_gradient(g: Geometry, x: jax.Array, dy: jax.Array) -> jax.Array:
    """dw = G' [(A dy) * (B' x)]."""
    if not _serves(x):
        return winograd.kernel_gradient(g, x, dy)
    c, d = x.shape[-1], dy.shape[-1]
    sums = (_workers(), winograd.tile_elements(g), c, _whole(d))
    return _call("kernel_gradient", g, x, dy, (*g.window, c, d), sums)


def _call(
    operation: str, g: Geometry, a: jax.Array, b: jax.Array, *shapes: tuple[int, ...]
) -> jax.Array:
    """Call the library; what it needs room for is a result that nobody reads."""
    tiles = a.shape[0] * prod(winograd.tile_counts(g))
    each = winograd.tile_elements(g) * sum(_whole(m.shape[-1]) for m in (a, b))
    block = _tiles_a_block(tiles, each * a.dtype.itemsize)
    results = [jax.ShapeDtypeStruct(s, a.dtype) for s in (*shapes, (_workers(), block * each))]
    call = jax.ffi.ffi_call(
        library.target(operation, g.window[0]), results, vmap_method="sequential"
    )
    before = np.array([lo for lo, _ in g.padding])
    return call(a, b, before=before, tiles=np.int64(block))[0]


def _tiles_a_block(tiles: int, tile_bytes: int) -> int:
    """As many as the room holds; less where every worker is to have some."""
    rows = library.rows()
    fit = max(GROUPS, ROOM_BYTES // tile_bytes // rows)
    return rows * min(fit, -(-tiles // (_workers() * rows)))


def _workers() -> int:
    return Policy.current().on.cores


def _whole(channels: int) -> int:
    """Channels up to whole vectors."""
    return -(-channels // library.lanes()) * library.lanes()


def _serves(x: jax.Array) -> bool:
    return x.dtype == jnp.float32 and library.ready()
