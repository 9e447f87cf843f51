"""Examples that ``vmap`` maps, folded into the batch or the channels of one correlation.

With examples e, and the channels of a group written (g, c) or (g, d):

===================  ==================================================================
mapped               becomes
===================  ==================================================================
an image             the batch (e, n) of F and X: the kernel meets them all in one product
a kernel             the features (g, e, d) of F, the channels (g, e, c) of X
x or dy              the channels (g, e, c) or the features (g, e, d) of W
both                 a loop over e, of whole correlations; small ones are mapped instead
===================  ==================================================================
"""

from __future__ import annotations

from math import prod

import jax
import jax.numpy as jnp
from jax import lax

from jcnn.axes import known
from jcnn.geometry import Geometry
from jcnn.ops.vmapped import Call, Which

# Multiplications of one example below which a turn of a loop costs more than it computes.
SMALL = 1 << 20


def of_image(
    call: Call, count: int, mapped: Which, statics: tuple[Geometry], x: jax.Array, w: jax.Array
) -> jax.Array | None:
    """F(x, w), (N, *output, D) of each example."""
    (g,) = statics
    if mapped == (True, False):
        return _apart(count, call(statics, _together(x), w))
    if mapped == (False, True):
        return _split(g.groups, count, call(statics, x, _joined(g.groups, w)))
    return _looped(call, statics, w.shape, x, w)


def of_examples(
    call: Call, count: int, mapped: Which, statics: tuple[Geometry], x: jax.Array, w: jax.Array
) -> jax.Array | None:
    """Any of them of examples that share a kernel; of others, what it is made of folds them."""
    return _apart(count, call(statics, _together(x), w)) if mapped == (True, False) else None


def of_transposed(
    call: Call, count: int, mapped: Which, statics: tuple[Geometry], dy: jax.Array, w: jax.Array
) -> jax.Array | None:
    """X(dy, w), (N, *size, C) of each example."""
    (g,) = statics
    if mapped == (True, False):
        return _apart(count, call(statics, _together(dy), w))
    if mapped == (False, True):
        # (e, *window, c, D): each example has channels of its own, in front of every group's.
        w = lax.collapse(jnp.moveaxis(w, 0, -3), w.ndim - 3, w.ndim - 1)
        return _split(g.groups, count, call(statics, dy, w))
    return _looped(call, statics, w.shape, dy, w)


def of_kernel(
    call: Call, count: int, mapped: Which, statics: tuple[Geometry], x: jax.Array, dy: jax.Array
) -> jax.Array | None:
    """W(x, dy), (*window, C / groups, D) of each example."""
    (g,) = statics
    if mapped == (False, True):
        return _split(g.groups, count, call(statics, x, _joined(g.groups, dy)))
    if mapped == (True, False):
        dw = call(statics, _joined(g.groups, x), dy)
        dw = dw.reshape(*dw.shape[:-2], count, dw.shape[-2] // count, dw.shape[-1])
        return jnp.moveaxis(dw, -3, 0)
    kernel = (1, *g.window, x.shape[-1] // g.groups, dy.shape[-1])
    return _looped(call, statics, kernel, x, dy)


def _together(a: jax.Array) -> jax.Array:
    """Examples and batch as one axis."""
    return a.reshape(a.shape[0] * a.shape[1], *a.shape[2:])


def _apart(count: int, a: jax.Array) -> jax.Array:
    return a.reshape(count, a.shape[0] // count, *a.shape[1:])


def _joined(groups: int, a: jax.Array) -> jax.Array:
    """(e, ..., g d) to (..., g e d)."""
    a = a.reshape(*a.shape[:-1], groups, a.shape[-1] // groups)
    return lax.collapse(jnp.moveaxis(a, 0, -2), a.ndim - 3)


def _split(groups: int, count: int, a: jax.Array) -> jax.Array:
    """(..., g e d) to (e, ..., g d)."""
    a = a.reshape(*a.shape[:-1], groups, count, a.shape[-1] // (groups * count))
    return lax.collapse(jnp.moveaxis(a, -2, 0), a.ndim - 2)


def _looped(
    call: Call, statics: tuple[Geometry], kernel: tuple[int, ...], *arrays: jax.Array
) -> jax.Array | None:
    """One whole correlation after another."""
    work = arrays[0].shape[1] * prod(statics[0].output) * prod(kernel[1:])
    if known(work) and work < SMALL:
        return None
    return lax.map(lambda example: call(statics, *example), arrays)
