"""Calls of the compiled library: arrays, where windows stand, and room."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jcnn.geometry import Geometry
from jcnn.lowering.native import library
from jcnn.lowering.native.residues import Residue, residues
from jcnn.lowering.once import on_cpu_once
from jcnn.lowering.policy import Policy
from jcnn.lowering.windows import exchanged, flipped

# Of the sums that a kernel gradient takes, each of a part of the blocks: with fewer parts than
# cores, several cores share the rows of one.
SUMS_BYTES = 64 << 20
# Elements of a kernel from which on it is flipped by itself.
FLIPPED_FIRST = 1 << 18


def call(
    kind: str, operation: str, g: Geometry, a: jax.Array, b: jax.Array,
    result: tuple[int, ...], kept: tuple[int, ...], block: int, room: int,
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
        block: Tiles or positions of a block.
        room: Elements that each worker needs for one.
    """
    if lines := g.rank == 1:
        a, b = a[:, None], b[:, None] if operation == "kernel_gradient" else b[None]
    seen = (result[0], 1, *result[1:]) if lines and operation == "correlate" else result
    made = [jax.ShapeDtypeStruct(seen, a.dtype)]
    made += [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in (kept, (workers(), room))]
    counts: dict[str, Any] = {"tiles": np.int64(block), "parts": np.int64(kept[0])}
    return run(kind, operation, made, a, b, **places(g), **counts)[0].reshape(result)


def adjoint_kernel(g: Geometry, w: jax.Array) -> jax.Array:
    """The kernel of the adjoint, (*window, D/G, C); a large one is flipped before it is transposed.

    XLA's CPU backend makes one loop of both, that exchanges channels one by one: of 512 and 512 it
    took 2.5 ms in place of 0.8.
    """
    if w.size < FLIPPED_FIRST:
        return flipped(g, w)
    back = on_cpu_once(partial(lax.rev, dimensions=tuple(range(g.rank))), w)
    return exchanged(g, back)


def by_residues(
    kind: str, g: Geometry, dy: jax.Array, w: jax.Array,
    needs: Callable[[Geometry], tuple[tuple[int, ...], int, int]],
) -> jax.Array:  # fmt: skip
    """The input gradient at strides: a call for each residue of dx's places, which it writes there.

    Args:
        kind: "patches" or "depthwise".
        g: Where the windows stand.
        dy: The cotangents.
        w: The kernel.
        needs: Of a residue's correlation, what is kept, a block and its room: see :func:`call`.
    """
    back, shape = adjoint_kernel(g, w), (len(dy), *g.size, w.shape[-2] * g.groups)
    dx: list[jax.Array] = []  # with the places before
    for each in residues(g):
        dx = [_into(kind, each, shape, needs(each.geometry), dy, back[each.taps], *dx)]
    return dx[0]


def _into(
    kind: str, residue: Residue, shape: tuple[int, ...],
    needs: tuple[tuple[int, ...], int, int], *given: jax.Array,
) -> jax.Array:  # fmt: skip
    """Write a residue's places of an array of this shape: the third that is given, or a new one."""
    g, (kept, block, room), result = residue.geometry, needs, shape
    if g.rank == 1:
        dy, w, *before = given
        given = (dy[:, None], w[None], *(a[:, None] for a in before))
        result = (shape[0], 1, *shape[1:])
    made = [jax.ShapeDtypeStruct(s, given[0].dtype) for s in (result, kept, (workers(), room))]
    counts: dict[str, Any] = {"tiles": np.int64(block), "parts": np.int64(kept[0])}
    placed = {
        "output": _pair(g.output),
        "first": _pair(residue.first, place=True),
        "every": _pair(residue.every),
    }
    values = {**places(g), **counts, **placed}
    return run(kind, "correlate_into", made, *given, **values)[0].reshape(shape)


def run(
    kind: str, operation: str, made: list[jax.ShapeDtypeStruct], *given: jax.Array,
    mapped: str = "sequential", **values: Any,
) -> list[jax.Array]:  # fmt: skip
    """What an operation of the library makes of arrays and values.

    An argument beyond the second is the first result as well, written in place. What ``vmap`` maps
    is one call after another, or with "broadcast_all" one of arrays that have a further first axis.

    Inside ``shard_map`` it varies over the axes of the mesh that the arrays vary over, which JAX
    doesn't see of a call.
    """
    called = jax.ffi.ffi_call(
        library.target(kind, operation),
        made,
        vmap_method=mapped,
        input_output_aliases={2: 0} if given[2:] else None,
    )
    varying = tuple(jax.typeof(given[0]).manual_axis_type.varying)
    return [lax.pcast(a, varying, to="varying") for a in called(*given, **values)]


def places(g: Geometry) -> dict[str, np.ndarray]:
    """Where the windows of a plane stand; those of a line are one row high."""
    before = tuple(lo for lo, _ in g.padding)
    pairs = {"window": g.window, "strides": g.strides, "dilation": g.dilation}
    return {
        **{name: _pair(each) for name, each in pairs.items()},
        "before": _pair(before, place=True),
    }


def _pair(each: tuple[int, ...], *, place: bool = False) -> np.ndarray:
    """A size of a plane's or a line's, or a place in it."""
    return np.array((0 if place else 1, *each)[-2:], np.int64)


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
