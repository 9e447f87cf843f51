"""Calls of the compiled library: arrays, where windows stand, and room."""

from __future__ import annotations

from math import prod

import jax
import jax.numpy as jnp
import numpy as np

from jcnn.geometry import Geometry
from jcnn.lowering.native import library
from jcnn.lowering.policy import Policy

# Of each core, for a block of tiles or positions: cores have 0.5 to 2 MB of cache of their own.
ROOM_BYTES = 2 << 20
# Rows that a matrix product computes together: so many of them a block, at least, for which
# kernels, or their sums, are read; and at most where a transposed factor is read row by row.
GROUPS, TRANSPOSED = 3, 8
# Of the sums that a kernel gradient takes, each of a part of the blocks: with fewer parts than
# cores, several cores share the rows of one.
SUMS_BYTES = 64 << 20


def call(
    kind: str, operation: str, g: Geometry, a: jax.Array, b: jax.Array,
    result: tuple[int, ...], kept: tuple[int, ...], each: int, count: int,
) -> jax.Array:  # fmt: skip
    """Call an operation of the library; a line is a plane of one row.

    Args:
        kind: Of :data:`jcnn.lowering.native.library.KINDS`.
        operation: "correlate" or "kernel_gradient".
        g: Where the windows stand.
        a: The images.
        b: The kernel, or the cotangents.
        result: The result's shape.
        kept: Of an array that is written and read again: kernels as products read them, or the
            parts' sums, (parts, …).
        each: Elements of room per tile or position.
        count: How many of these there are.
    """
    most = TRANSPOSED if (kind, operation) == ("patches", "kernel_gradient") else count
    block = _block(count, each * a.dtype.itemsize, most)
    if lines := g.rank == 1:
        a, b = a[:, None], b[:, None] if operation == "kernel_gradient" else b[None]
    seen = (result[0], 1, *result[1:]) if lines and operation == "correlate" else result
    shapes = (seen, kept, (workers(), block * each))
    made = [jax.ShapeDtypeStruct(shape, a.dtype) for shape in shapes]
    run = jax.ffi.ffi_call(library.target(kind, operation), made, vmap_method="sequential")
    pairs = {"window": g.window, "strides": g.strides, "dilation": g.dilation}
    places = {n: np.array((1,) * lines + pair, np.int64) for n, pair in pairs.items()}
    before = np.array([0] * lines + [lo for lo, _ in g.padding], np.int64)
    counts = {"tiles": np.int64(block), "parts": np.int64(kept[0])}
    return run(a, b, **places, before=before, **counts)[0].reshape(result)


def serves(x: jax.Array) -> bool:
    """Whether the library is there, for arrays of this dtype."""
    return x.dtype == jnp.float32 and library.ready()


def workers() -> int:
    """Threads that share the work: the cores of the policy's machine."""
    return Policy.current().on.cores


def parts(elements: int) -> int:
    """Parts of a sum of so many elements: one per core, fewer of a large one."""
    return max(1, min(workers(), SUMS_BYTES // (4 * elements)))


def whole(channels: int) -> int:
    """Channels up to whole vectors."""
    return -(-channels // library.lanes()) * library.lanes()


def positions(g: Geometry, batch: int) -> int:
    """Windows of all images."""
    return batch * prod(g.output)


def _block(count: int, each_bytes: int, most: int) -> int:
    """As many as the room holds; less where every worker is to have some."""
    rows = library.rows()
    fit = max(GROUPS, ROOM_BYTES // max(each_bytes, 1) // rows)
    return rows * min(fit, most, max(1, -(-count // (workers() * rows))))
