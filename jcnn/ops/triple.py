r"""The closed triple: correlation, its input gradient and its kernel gradient.

Correlation is bilinear in the image and the kernel:

.. math:: y[m, d] = \sum_k \sum_c w[k, c, d] \, x[s m + k, c]  \qquad F(x, w)

and so are its two gradients, for a cotangent :math:`\delta = \partial L / \partial y`:

.. math::
    \partial L / \partial x [n, c] &= \sum_m \sum_d w[n - s m, c, d] \, \delta[m, d]
    \qquad X(\delta, w) \\
    \partial L / \partial w [k, c, d] &= \sum_m \delta[m, d] \, x[s m + k, c]
    \qquad W(x, \delta)

Each is linear in both of its arguments, and its two derivatives are the other two functions:

======================= ====================== ======================
function                in the first argument  in the second
======================= ====================== ======================
:math:`F(x, w)`         :math:`X(\delta, w)`   :math:`W(x, \delta)`
:math:`X(\delta, w)`    :math:`F(dx, w)`       :math:`W(dx, \delta)`
:math:`W(x, \delta)`    :math:`X(\delta, dw)`  :math:`F(x, dw)`
======================= ====================== ======================

Three rules that name each other are therefore closed under reverse-mode differentiation to any
order. Between the passes each keeps its two arguments, nothing else. Sums of no term are zero here,
so that a lowering always has something to add.
"""

from __future__ import annotations

from typing import TypeAlias

import jax
import jax.numpy as jnp

from jcnn import lowering
from jcnn.geometry import Geometry
from jcnn.lowering import xla
from jcnn.ops import folds, splits
from jcnn.ops.rule import arguments, rule

Pair: TypeAlias = tuple[jax.Array, jax.Array]


@rule(keeps=arguments, statics=1)
def correlation(geometry: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    """F: correlate ``x`` (N, *size, C) with ``w`` (*window, C/G, D) to (N, *output, D)."""
    if 0 in (*x.shape, *w.shape):
        return jnp.zeros((x.shape[0], *geometry.output, w.shape[-1]), x.dtype)
    return lowering.correlate(geometry, x, w)


@rule(keeps=arguments, statics=1)
def input_gradient(geometry: Geometry, dy: jax.Array, w: jax.Array) -> jax.Array:
    """X: carry ``dy`` (N, *output, D) back to the input (N, *size, C)."""
    if 0 in (*dy.shape, *w.shape, *geometry.size):
        channels = w.shape[-2] * geometry.groups
        return jnp.zeros((dy.shape[0], *geometry.size, channels), dy.dtype)
    return lowering.input_gradient(geometry, dy, w)


@rule(keeps=arguments, statics=1)
def kernel_gradient(geometry: Geometry, x: jax.Array, dy: jax.Array) -> jax.Array:
    """W: correlate ``x`` (N, *size, C) with ``dy`` (N, *output, D) to (*window, C/G, D)."""
    if 0 in (*x.shape, *dy.shape):
        channels = x.shape[-1] // geometry.groups
        return jnp.zeros((*geometry.window, channels, dy.shape[-1]), x.dtype)
    return lowering.kernel_gradient(geometry, x, dy)


correlation.folding(folds.of_image, xla.correlate, splits.of_image)
input_gradient.folding(folds.of_transposed, xla.input_gradient, splits.of_transposed)
kernel_gradient.folding(folds.of_kernel, xla.kernel_gradient, splits.of_kernel)


@correlation.pullback
def _(geometry: Geometry, x: jax.Array, w: jax.Array, dy: jax.Array) -> Pair:
    return input_gradient(geometry, dy, w), kernel_gradient(geometry, x, dy)


@input_gradient.pullback
def _(geometry: Geometry, dy: jax.Array, w: jax.Array, dx: jax.Array) -> Pair:
    return correlation(geometry, dx, w), kernel_gradient(geometry, dx, dy)


@kernel_gradient.pullback
def _(geometry: Geometry, x: jax.Array, dy: jax.Array, dw: jax.Array) -> Pair:
    return input_gradient(geometry, dy, dw), correlation(geometry, x, dw)
