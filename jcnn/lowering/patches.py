"""Patches of a few images at a time and one matrix product: y = P(x) W, dW = P(x)' dy.

P(x) has one row per window, (N * positions, taps * C). For a whole batch it would be written to
memory and read back; for a block of images it stays in cache. Matrix products keep their speed
inside XLA's loops.
"""

from __future__ import annotations

from math import prod

import jax
import jax.numpy as jnp
from jax import lax

from jcnn.geometry import Geometry
from jcnn.lowering.blocks import block_bytes, block_size, map_blocks, sum_blocks
from jcnn.lowering.windows import adjoint, flipped, pad, patches

# Of the cache, for the patches of one block: 4 of 32 MB. Much less, and the loop over blocks costs
# more than the cache gains.
SHARE = 1 / 8


def correlate(g: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    """Correlation: y = P(x) W."""
    matrix = lax.collapse(w, 0, g.rank + 1)

    def block(x: jax.Array) -> jax.Array:
        return jnp.matmul(patches(g, pad(g, x)), matrix)

    # The patches of a 1x1 window are x itself: nothing to keep in cache.
    return map_blocks(block, x.shape[0] if g.taps == 1 else _images_a_block(g, x), x)


def input_gradient(g: Geometry, dy: jax.Array, w: jax.Array) -> jax.Array:
    """At stride 1, the correlation of dy with the flipped kernel."""
    assert max(g.strides) == 1, g
    return correlate(adjoint(g), dy, flipped(g, w))


def kernel_gradient(g: Geometry, x: jax.Array, dy: jax.Array) -> jax.Array:
    """Its adjoint: dW = P(x)' dy, or (dy' P(x))': the narrower factor is transposed."""
    narrow = g.taps * x.shape[-1] < dy.shape[-1]

    def block(x: jax.Array, dy: jax.Array) -> jax.Array:
        rows = lax.collapse(patches(g, pad(g, x)), 0, g.rank + 1)
        dy = lax.collapse(dy, 0, g.rank + 1)
        return rows.T @ dy if narrow else dy.T @ rows

    ends = g.taps * x.shape[-1], dy.shape[-1]
    dw = sum_blocks(block, _images_a_block(g, x), ends if narrow else ends[::-1], x, dy)
    return (dw if narrow else dw.T).reshape(*g.window, x.shape[-1], dy.shape[-1])


def _images_a_block(g: Geometry, x: jax.Array) -> int:
    values = prod(g.output) * g.taps * x.shape[-1]
    return block_size(x.shape[0], values * x.dtype.itemsize, block_bytes(SHARE))
