"""Minimal filtering by compiled loops; the formulas are those of :mod:`jcnn.lowering.winograd`."""

from __future__ import annotations

from math import prod

import jax

from jcnn.geometry import Geometry
from jcnn.lowering import winograd
from jcnn.lowering.native.calls import call, parts, serves, tiles, whole
from jcnn.lowering.windows import adjoint, flipped


def correlate(g: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    """Y = A' [(G w) * (B' x)]."""
    if not serves(x):
        return winograd.correlate(g, x, w)
    c, d = w.shape[-2:]
    kernels = (winograd.tile_elements(g), c, whole(d))
    return _call("correlate", g, x, w, (x.shape[0], *g.output, d), kernels)


def input_gradient(g: Geometry, dy: jax.Array, w: jax.Array) -> jax.Array:
    """Dy correlated with the flipped kernel."""
    return correlate(adjoint(g), dy, flipped(g, w))


def kernel_gradient(g: Geometry, x: jax.Array, dy: jax.Array) -> jax.Array:
    """Dw = G' [(A dy) * (B' x)]."""
    if not serves(x):
        return winograd.kernel_gradient(g, x, dy)
    c, d = x.shape[-1], dy.shape[-1]
    elements = winograd.tile_elements(g)
    sums = (parts(elements * c * whole(d)), elements, c, whole(d))
    return _call("kernel_gradient", g, x, dy, (*g.window, c, d), sums)


def _call(
    operation: str, g: Geometry, a: jax.Array, b: jax.Array,
    result: tuple[int, ...], kept: tuple[int, ...],
) -> jax.Array:  # fmt: skip
    each = winograd.tile_elements(g) * (whole(a.shape[-1]) + whole(b.shape[-1]))
    block = tiles(a.shape[0] * prod(winograd.tile_counts(g)), each)
    return call(f"winograd_{g.window[0]}", operation, g, a, b, result, kept, block, block * each)
