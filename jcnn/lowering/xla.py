"""The three correlations as XLA convolutions.

The gradients are stated as XLA's GPU and TPU backends expect them, so that these recognise the forward,
input-gradient and kernel-gradient convolutions and give each its own library kernel.
"""

from __future__ import annotations

import jax
from jax import lax

from jcnn.lowering.geometry import Geometry


def correlate(g: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    """The correlation y[m] = sum_k w[k] x[s m + d k - lo]."""
    return lax.conv_general_dilated(
        x,
        w,
        window_strides=g.strides,
        padding=g.padding,
        rhs_dilation=g.dilation,
        dimension_numbers=_images(g),
        feature_group_count=g.groups,
    )


def input_gradient(g: Geometry, dy: jax.Array, w: jax.Array) -> jax.Array:
    """Its adjoint in x: dy, spread by the strides, meets the flipped kernel with its channels exchanged."""
    return lax.conv_general_dilated(
        dy,
        lax.rev(_exchange_channels(g, w), tuple(range(g.rank))),
        window_strides=(1,) * g.rank,
        padding=[
            (span - 1 - lo, size + lo - 1 - (m - 1) * stride)
            for span, (lo, _), size, m, stride in zip(
                g.span, g.padding, g.size, g.output, g.strides, strict=True
            )
        ],
        lhs_dilation=g.strides,
        rhs_dilation=g.dilation,
        dimension_numbers=_images(g),
        feature_group_count=g.groups,
    )


def kernel_gradient(g: Geometry, x: jax.Array, dy: jax.Array) -> jax.Array:
    """Its adjoint in w: dy is the kernel, its batch the channels that are summed; strides and dilation trade places."""
    space = tuple(range(1, g.rank + 1))
    channels_as_batch = (g.rank + 1, 0, *space)
    return lax.conv_general_dilated(
        x,
        dy,
        window_strides=g.dilation,
        padding=[
            (lo, (k - 1) * d + (m - 1) * stride + 1 - size - lo)
            for (lo, _), k, d, m, stride, size in zip(
                g.padding, g.window, g.dilation, g.output, g.strides, g.size, strict=True
            )
        ],
        rhs_dilation=g.strides,
        dimension_numbers=lax.ConvDimensionNumbers(
            channels_as_batch, channels_as_batch, (g.rank, g.rank + 1, *range(g.rank))
        ),
        batch_group_count=g.groups,
    )


def _images(g: Geometry) -> lax.ConvDimensionNumbers:
    """Images (N, *size, C), kernels (*window, C, D)."""
    image = (0, g.rank + 1, *range(1, g.rank + 1))
    return lax.ConvDimensionNumbers(image, (g.rank + 1, g.rank, *range(g.rank)), image)


def _exchange_channels(g: Geometry, w: jax.Array) -> jax.Array:
    """(*window, C/G, D) to (*window, D/G, C)."""
    c, d = w.shape[-2:]
    w = w.reshape(*g.window, c, g.groups, d // g.groups)
    return lax.collapse(lax.transpose(w, (*range(g.rank), g.rank + 2, g.rank + 1, g.rank)), g.rank + 1)
