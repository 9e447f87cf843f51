"""Minimal filtering by compiled loops; the formulas are those of :mod:`jcnn.lowering.winograd`."""

from __future__ import annotations

from math import gcd, lcm, prod

import jax
import jax.numpy as jnp

from jcnn.geometry import Geometry
from jcnn.lowering import winograd
from jcnn.lowering.native import library
from jcnn.lowering.native.calls import adjoint_kernel, call, serves, whole, workers
from jcnn.lowering.policy import Policy
from jcnn.lowering.windows import adjoint

# Of each core, for a block of tiles: cores have 0.5 to 2 MB of cache of their own.
ROOM_BYTES = 2 << 20
# Rows that a matrix product computes together: so many of them a block, at least, for which
# kernels, or their sums, are read.
GROUPS = 3
# Sums that no core's own cache holds are of all cores together, and so is then the room.
SUMS_BYTES = 1 << 20
SHARED_BYTES = 8 << 20
# Channels of a block of groups, at least: as in tiles.h.
BESIDE = 64
# Elements of a line of the cache: as there.
LINE = 16


def correlate(g: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    """Y = A' [(G w) * (B' x)]."""
    if not (serves(x) or takes_half(x, w)):
        return winograd.correlate(g, x, w)
    c, d = x.shape[-1], w.shape[-1]
    kernels = (winograd.tile_elements(g), c, whole(d // g.groups))
    return _call("correlate", g, x, w, (x.shape[0], *g.output, d), kernels)


def input_gradient(g: Geometry, dy: jax.Array, w: jax.Array) -> jax.Array:
    """Dy correlated with the flipped kernel."""
    return correlate(adjoint(g), dy, adjoint_kernel(g, w))


def kernel_gradient(g: Geometry, x: jax.Array, dy: jax.Array) -> jax.Array:
    """Dw = G' [(A dy) * (B' x)]."""
    if not (serves(x) or takes_half(x, dy)):
        return winograd.kernel_gradient(g, x, dy)
    c, d = x.shape[-1], dy.shape[-1]
    sums = (winograd.tile_elements(g), c, whole(d // g.groups))
    sums = (1 if _are_shared(sums) else workers(), *sums)
    return _call("kernel_gradient", g, x, dy, (*g.window, c // g.groups, d), sums)


def takes_half(a: jax.Array, b: jax.Array) -> bool:
    """Whether the loops read these as they are: arrays of bfloat16."""
    return a.dtype == b.dtype == jnp.bfloat16 and library.ready()


def _call(
    operation: str, g: Geometry, a: jax.Array, b: jax.Array,
    result: tuple[int, ...], kept: tuple[int, ...],
) -> jax.Array:  # fmt: skip
    kind, kernel = f"winograd_{g.window[0]}", operation == "kernel_gradient"
    if a.dtype == jnp.bfloat16:
        kind += "_bfloat16"
    if pairs := g.window[0] == 3 and Policy.current().rounded:
        kind += "_pairs"
    together = _together(g.groups, *(n // g.groups for n in (a.shape[-1], b.shape[-1])))
    ends = [together * n // g.groups for n in (a.shape[-1], b.shape[-1])]
    shared = kernel and _are_shared(kept[1:])
    # Two tiles may lie in the place of one.
    times = 2 if kernel and pairs and library.pairs() else 1
    block = times * _tiles(g, -(-len(a) // times), ends, shared)
    room = _room(g, block, ends, times)
    # A group's last vector may end beyond the block.
    room = library.lanes() + (-(-room // workers()) if shared else room)
    return call(kind, operation, g, a, b, result, kept, block, room)


def _room(g: Geometry, block: int, ends: list[int], times: int) -> int:
    """Elements of a block's two transforms; so many tiles, or channels, lie in the place of one."""

    def terms(count: int) -> int:
        return -(-count // times)

    channels, features = ends
    each = max(block * _apart(terms(channels)), terms(block) * _apart(channels))
    return winograd.tile_elements(g) * (each + terms(block) * _apart(features))


def _are_shared(sums: tuple[int, ...]) -> bool:
    """Whether all workers add to the same sums, of float32."""
    return 4 * prod(sums) > SUMS_BYTES


def _tiles(g: Geometry, images: int, ends: list[int], shared: bool) -> int:
    """Tiles of a block: as many as the room holds; less where every worker is to have some.

    Args:
        g: Where the windows stand.
        images: How many there are.
        ends: Channels and features of the groups that are taken together.
        shared: Whether the room is that of all workers.
    """
    room, most = ROOM_BYTES, images * prod(winograd.tile_counts(g))
    if shared:
        room = max(SHARED_BYTES, workers() * ROOM_BYTES)
    else:
        most = -(-most // workers())
        if g.groups > 1:  # whose kernels are small: a small block is worth reading them
            room //= 2
    each = 4 * winograd.tile_elements(g) * sum(map(_apart, ends))
    rows = library.rows()
    return rows * min(max(GROUPS, room // each // rows), -(-most // rows))


def _apart(channels: int) -> int:
    """From one tile's channels to the next's: see tiles.h."""
    full = whole(channels)
    return full + LINE if full % (8 * LINE) == 0 else full


def _together(groups: int, channels: int, features: int) -> int:
    """Groups of a block: see tiles.h."""
    lanes = library.lanes()
    found = lcm(*(lanes // gcd(n, lanes) for n in (channels, features)))
    if groups % found:
        return groups
    while groups % (2 * found) == 0 and found * channels < BESIDE:
        found *= 2
    return found
