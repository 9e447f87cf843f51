"""Each channel with a window of its own, by compiled loops: a vector of channels at a time."""

from __future__ import annotations

import jax

from jcnn.geometry import Geometry
from jcnn.lowering import direct
from jcnn.lowering.native.calls import by_residues, call, parts, serves, whole
from jcnn.lowering.windows import adjoint, flipped


def correlate(g: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    """y[m, c] = sum_k w[k, c] x[s m + d k - lo, c]."""
    if not serves(x):
        return direct.correlate(g, x, w)
    result = (x.shape[0], *g.output, x.shape[-1])
    return call("depthwise", "correlate", g, x, w, result, (1,), 1, 1)


def input_gradient(g: Geometry, dy: jax.Array, w: jax.Array) -> jax.Array:
    """Dy correlated with the flipped kernel; at strides by :mod:`residues`, one after another."""
    if max(g.strides) == 1:
        return correlate(adjoint(g), dy, flipped(g, w))
    if not serves(dy):
        return direct.input_gradient(g, dy, w)
    return by_residues("depthwise", g, dy, w, lambda h: ((1,), 1, 1))


def kernel_gradient(g: Geometry, x: jax.Array, dy: jax.Array) -> jax.Array:
    """dw[k, c] = sum_m dy[m, c] x[s m + d k - lo, c]."""
    if not serves(x):
        return direct.kernel_gradient(g, x, dy)
    c = x.shape[-1]
    sums = (parts(g.taps * whole(c)), g.taps, whole(c))
    result = (*g.window, 1, c)
    return call("depthwise", "kernel_gradient", g, x, dy, result, sums, 1, 1)
