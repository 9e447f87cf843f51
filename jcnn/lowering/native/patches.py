"""Patches by compiled loops: y = patches(x) w, dw = patches(x)' dy, a block at a time.

The patches of a block stay in a core's cache; images whose patches are their own rows are read
where they lie. The formulas are those of :mod:`jcnn.lowering.patches`.
"""

from __future__ import annotations

import jax

from jcnn.geometry import Geometry
from jcnn.lowering import patches
from jcnn.lowering.native.calls import call, parts, positions, serves, whole
from jcnn.lowering.windows import adjoint, flipped


def correlate(g: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    """Y = patches(x) w."""
    if not serves(x):
        return patches.correlate(g, x, w)
    c, d = w.shape[-2:]
    terms, result = g.taps * c, (x.shape[0], *g.output, d)
    each, count = terms + whole(d), positions(g, len(x))
    return call("patches", "correlate", g, x, w, result, (terms, whole(d)), each, count)


def input_gradient(g: Geometry, dy: jax.Array, w: jax.Array) -> jax.Array:
    """At stride 1: dy correlated with the flipped kernel."""
    return correlate(adjoint(g), dy, flipped(g, w))


def kernel_gradient(g: Geometry, x: jax.Array, dy: jax.Array) -> jax.Array:
    """Dw = patches(x)' dy."""
    if not serves(x):
        return patches.kernel_gradient(g, x, dy)
    c, d = x.shape[-1], dy.shape[-1]
    terms, result = g.taps * c, (*g.window, c, d)
    each, count = terms + whole(d), positions(g, len(x))
    sums = (parts(terms * whole(d)), terms, whole(d))
    return call("patches", "kernel_gradient", g, x, dy, result, sums, each, count)
