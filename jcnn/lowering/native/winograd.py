"""Minimal filtering by compiled loops; the formulas are those of :mod:`jcnn.lowering.winograd`."""

from __future__ import annotations

from math import gcd, lcm, prod

import jax
import jax.numpy as jnp

from jcnn.geometry import Geometry
from jcnn.lowering import winograd
from jcnn.lowering.native import library
from jcnn.lowering.native.calls import ROOM_BYTES, call, parts, serves, tiles, whole
from jcnn.lowering.policy import Policy
from jcnn.lowering.windows import adjoint, flipped

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
    return correlate(adjoint(g), dy, flipped(g, w))


def kernel_gradient(g: Geometry, x: jax.Array, dy: jax.Array) -> jax.Array:
    """Dw = G' [(A dy) * (B' x)]."""
    if not (serves(x) or takes_half(x, dy)):
        return winograd.kernel_gradient(g, x, dy)
    c, d = x.shape[-1], dy.shape[-1]
    elements, depth = winograd.tile_elements(g), whole(d // g.groups)
    sums = (parts(elements * c * depth), elements, c, depth)
    return _call("kernel_gradient", g, x, dy, (*g.window, c // g.groups, d), sums)


def takes_half(a: jax.Array, b: jax.Array) -> bool:
    """Whether the loops read these as they are: arrays of bfloat16."""
    return a.dtype == b.dtype == jnp.bfloat16 and library.ready()


def _call(
    operation: str, g: Geometry, a: jax.Array, b: jax.Array,
    result: tuple[int, ...], kept: tuple[int, ...],
) -> jax.Array:  # fmt: skip
    kind, block_times = f"winograd_{g.window[0]}", 1
    if a.dtype == jnp.bfloat16:
        kind += "_bfloat16"
    if g.window[0] == 3 and Policy.current().rounded:
        kind += "_pairs"
        if operation == "kernel_gradient" and library.pairs():
            block_times = 2  # two tiles take the room of one
    ends = [n // g.groups for n in (a.shape[-1], b.shape[-1])]
    together = _together(g.groups, *ends)
    each = winograd.tile_elements(g) * sum(_apart(together * n) for n in ends)
    # Kernels of groups are small: no large block is needed to be worth reading them.
    room = ROOM_BYTES if g.groups == 1 else ROOM_BYTES // 2
    count = a.shape[0] * prod(winograd.tile_counts(g))
    block = tiles(count, each, room, block_times)
    # A group's last vector may end beyond the block.
    elements = block * each + library.lanes()
    return call(kind, operation, g, a, b, result, kept, block, elements)


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
