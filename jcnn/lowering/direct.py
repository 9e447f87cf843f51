"""Sums of shifted products, y = sum_k x[. + k] w[k]: for groups of very few channels.

With one channel a group (depthwise) there is no matrix product to be had: XLA's own convolution
takes one group at a time, this one fused loop runs over all channels as vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from math import prod

import jax
import jax.numpy as jnp
from jax import lax

from jcnn.geometry import Geometry
from jcnn.lowering.blocks import block_bytes, block_size, sum_blocks
from jcnn.lowering.once import on_cpu_once
from jcnn.lowering.sums import part_count, sum_of_parts
from jcnn.lowering.windows import (
    UNROLLED,
    adjoint,
    flipped,
    overlap_add,
    pad,
    spread,
    views,
    views_from,
)

# Of the cache, for images that every sum of the kernel gradient finds there: 4 of 32 MB took 5.8 ms
# where all at once took 9.5.
SHARE = 1 / 8
# Taps up to which each has a loop of its own that sums parts: some thirty operations.
PARTED = 16
# Taps of a large window that are added in one turn of a loop.
TAPS_A_TURN = 8


def correlate(g: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    """Each channel c of the groups, spread over the features that read it, times its row of w."""
    if g.taps > UNROLLED:
        return _correlate_in_a_loop(g, x, w)
    taps = w.reshape(g.taps, *w.shape[-2:])
    y = jnp.zeros((), x.dtype)
    for c, channel in enumerate(_channels(g, x, w.shape[-1])):
        for k, seen in enumerate(views(g, pad(g, channel))):
            y = y + _scaled(seen, taps[k, c])
    return y


def _scaled(a: jax.Array, tap: jax.Array) -> jax.Array:
    """Each channel times its own weight."""
    return a * lax.broadcast_to_rank(tap, a.ndim)


def _correlate_in_a_loop(g: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    """The same sum, a few taps of a row per turn: y is read and written once for them all."""
    taps = w.reshape(g.taps, *w.shape[-2:])
    images = [pad(g, channel) for channel in _channels(g, x, w.shape[-1])]
    y = jnp.zeros((x.shape[0], *g.output, w.shape[-1]), x.dtype)
    whole, rest = divmod(g.window[-1], TAPS_A_TURN)
    # In every row: its whole turns, then what is left of it.
    for column, turns, count in ((0, whole, TAPS_A_TURN), (whole * TAPS_A_TURN, 1, rest)):
        if turns and count:
            turn = partial(_turn, g, images, taps, column, turns, count)
            y = lax.fori_loop(0, g.taps // g.window[-1] * turns, turn, y)
    return y


def _turn(
    g: Geometry,
    images: list[jax.Array],
    taps: jax.Array,
    column: int,
    turns: int,
    count: int,
    i: jax.Array,
    y: jax.Array,
) -> jax.Array:
    """Add ``count`` taps, in the i-th of ``turns`` turns per row, from ``column`` on."""
    first = i // turns * g.window[-1] + column + i % turns * TAPS_A_TURN
    kernel = lax.dynamic_slice_in_dim(taps, first, count)
    for c, image in enumerate(images):
        for k, seen in enumerate(views_from(g, image, first, count)):
            y = y + _scaled(seen, kernel[k, c])
    return y


def input_gradient(g: Geometry, dy: jax.Array, w: jax.Array) -> jax.Array:
    """At stride 1 the correlation with the flipped kernel, else the adjoint of the views."""
    if max(g.strides) == 1:
        return correlate(adjoint(g), dy, flipped(g, w))
    if g.taps > UNROLLED:
        back, dy = spread(g, dy)
        return correlate(back, dy, flipped(g, w))
    c, d = w.shape[-2], w.shape[-1]
    taps = w.reshape(g.taps, c, d)
    grouped = (*dy.shape[:-1], g.groups, d // g.groups)
    parts = (
        jnp.stack([_scaled(dy, tap[i]).reshape(grouped).sum(-1) for i in range(c)], -1)
        for tap in taps
    )
    return lax.collapse(overlap_add_channels(g, parts), g.rank + 1)


def overlap_add_channels(g: Geometry, parts: Iterator[jax.Array]) -> jax.Array:
    """overlap_add for parts with two channel axes."""
    flat = (lax.collapse(part, g.rank + 1) for part in parts)
    dx = overlap_add(g, flat)
    return dx.reshape(*dx.shape[:-1], g.groups, dx.shape[-1] // g.groups)


def kernel_gradient(g: Geometry, x: jax.Array, dy: jax.Array) -> jax.Array:
    """One sum over all positions for each element of the window and channel of the groups."""
    shape = (*g.window, x.shape[-1] // g.groups, dy.shape[-1])

    def block(x: jax.Array, dy: jax.Array) -> jax.Array:
        images = [pad(g, channel) for channel in _channels(g, x, dy.shape[-1])]
        if g.taps > UNROLLED:
            return lax.map(partial(_products, g, images, dy), jnp.arange(g.taps)).reshape(shape)
        if g.taps > PARTED:
            space = tuple(range(g.rank + 1))
            dw = [[jnp.sum(seen * dy, space) for seen in views(g, image)] for image in images]
        else:
            dw = [[_tap(g, k, image, dy) for k in range(g.taps)] for image in images]
        return jnp.stack([jnp.stack(taps) for taps in dw], 1).reshape(shape)

    values = prod(g.size) * x.shape[-1] + prod(g.output) * dy.shape[-1]
    size = block_size(x.shape[0], values * x.dtype.itemsize, block_bytes(SHARE))
    return sum_blocks(block, size, shape, x, dy)


def _tap(g: Geometry, k: int, image: jax.Array, dy: jax.Array) -> jax.Array:
    """The sum over all positions for element k of the window."""
    axis = 0 if part_count(dy.shape[0]) >= part_count(dy.shape[1]) else 1

    def products(image: jax.Array, dy: jax.Array) -> jax.Array:
        seen = next(islice(views(g, image), k, None))
        return sum_of_parts(lax.mul, axis, seen, dy)

    return on_cpu_once(products, image, dy).sum(tuple(range(g.rank + 1)))


def _products(g: Geometry, images: list[jax.Array], dy: jax.Array, k: jax.Array) -> jax.Array:
    """The sums over all positions for element k of the window."""
    seen = (next(views_from(g, image, k, 1)) for image in images)
    return jnp.stack([jnp.sum(view * dy, tuple(range(g.rank + 1))) for view in seen])


def _channels(g: Geometry, x: jax.Array, features: int) -> Iterator[jax.Array]:
    """For each channel of a group: its image, once for every feature of the group."""
    grouped = x.reshape(*x.shape[:-1], g.groups, x.shape[-1] // g.groups)
    for c in range(grouped.shape[-1]):
        yield jnp.repeat(grouped[..., c], features // g.groups, axis=-1)
