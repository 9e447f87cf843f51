"""Depthwise correlations as XLA convolutions that its CPU backend leaves as they are.

XLA's library for a CPU takes one group at a time (85 ms for 64 channels, 3x3, at 32x32 and 64
images). A convolution that it doesn't know, with kernels laid out as (*window, D, C) and in a call
of its own, is a plain loop, which for one channel a group runs over all of them as vectors: no
padded copy, no slices. It asks at every tap whether it is within the image: beyond 3x3 that is
slower than sums of shifted products.
"""

from __future__ import annotations

from functools import partial

import jax
from jax import lax

from jcnn.geometry import Geometry
from jcnn.lowering import xla
from jcnn.lowering.once import on_cpu_once
from jcnn.lowering.windows import flipped

# Taps up to which it was measured faster: 3x3 2.8 ms against 3.8, at stride 2 0.7 against 2.6; 5x5
# 30 against 4.7. None from JAX 0.11 on, where XLA runs such a call on one core (0.12: 12 ms).
TAPS = 9 if jax.__version_info__ < (0, 11) else 0


def correlate(g: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    """The correlation, groups side by side."""
    strides = {"window_strides": g.strides, "padding": g.padding}
    return on_cpu_once(partial(_convolution, g, strides), x, lax.transpose(w, _exchanged(g)))


def input_gradient(g: Geometry, dy: jax.Array, w: jax.Array) -> jax.Array:
    """Its adjoint in x: dy, spread by the strides, meets the flipped kernel."""
    strides = {
        "window_strides": (1,) * g.rank,
        "padding": xla.input_gradient_padding(g),
        "lhs_dilation": g.strides,
    }
    w = lax.transpose(flipped(g, w), _exchanged(g))
    return on_cpu_once(partial(_convolution, g, strides), dy, w)


def _convolution(g: Geometry, strides: dict, x: jax.Array, w: jax.Array) -> jax.Array:
    images = xla.images(g)
    kernel = (g.rank, g.rank + 1, *range(g.rank))
    return lax.conv_general_dilated(
        x,
        w,
        rhs_dilation=g.dilation,
        dimension_numbers=images._replace(rhs_spec=kernel),
        feature_group_count=g.groups,
        **strides,
    )


def _exchanged(g: Geometry) -> tuple[int, ...]:
    return (*range(g.rank), g.rank + 1, g.rank)
