"""The three correlations as XLA convolutions.

The gradients are stated as XLA's GPU and TPU backends expect them, so that these recognise the
forward, input-gradient and kernel-gradient convolutions and give each its own library kernel.

No padding that XLA meets is negative: its CPU backend reads memory that nobody wrote then. A
geometry has no excess here, and what no window reaches at the input's end is cropped.
"""

from __future__ import annotations

from dataclasses import replace

import jax
from jax import lax

from jcnn.axes import known, over
from jcnn.geometry import Geometry
from jcnn.lowering.windows import flipped, resized, spread


def correlate(g: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    """The correlation y[m] = sum_k w[k] x[s m + d k - lo]."""
    if not all(known(*pair) for pair in g.padding):
        # XLA takes numbers only, where jax.export may leave the size of x, and thus padding, open.
        g, x = replace(g, size=g.padded, padding=((0, 0),) * g.rank), resized(x, g.padding)
    return lax.conv_general_dilated(
        x,
        w,
        window_strides=g.strides,
        padding=g.padding,
        rhs_dilation=g.dilation,
        dimension_numbers=images(g),
        feature_group_count=g.groups,
    )


def input_gradient(g: Geometry, dy: jax.Array, w: jax.Array) -> jax.Array:
    """Its adjoint in x: dy, spread by the strides, meets the flipped kernel."""
    padding = input_gradient_padding(g)
    if not all(known(*pair) for pair in padding):
        back, dy = spread(g, dy)
        return correlate(back, dy, flipped(g, w))
    return lax.conv_general_dilated(
        dy,
        flipped(g, w),
        window_strides=(1,) * g.rank,
        padding=padding,
        lhs_dilation=g.strides,
        rhs_dilation=g.dilation,
        dimension_numbers=images(g),
        feature_group_count=g.groups,
    )


def kernel_gradient(g: Geometry, x: jax.Array, dy: jax.Array) -> jax.Array:
    """Its adjoint in w: dy is the kernel, strides and dilation trade places, N is summed."""
    space = tuple(range(1, g.rank + 1))
    channels_as_batch = (g.rank + 1, 0, *space)
    return lax.conv_general_dilated(
        reached(g, x),
        dy,
        window_strides=g.dilation,
        padding=kernel_gradient_padding(g),
        rhs_dilation=g.strides,
        dimension_numbers=lax.ConvDimensionNumbers(
            channels_as_batch, channels_as_batch, (g.rank, g.rank + 1, *range(g.rank))
        ),
        batch_group_count=g.groups,
    )


def input_gradient_padding(g: Geometry) -> list[tuple[int, int]]:
    """Padding of dy, spread by the strides, under the flipped kernel: the output has x's size."""
    return [
        (span - 1 - lo, size + lo - 1 - (m - 1) * stride)
        for span, (lo, _), size, m, stride in zip(
            g.span, g.padding, g.size, g.output, g.strides, strict=True
        )
    ]


def kernel_gradient_padding(g: Geometry) -> list[tuple[int, int]]:
    """Padding of what is reached of x under the kernel dy: the output has the window's size.

    XLA takes numbers only; before, what jax.export leaves open is padded with :func:`reached`.
    """
    return [
        (lo if known(lo) else 0, over(hi - rest))
        for (lo, hi), rest in zip(g.padding, g.rest, strict=True)
    ]


def reached(g: Geometry, x: jax.Array) -> jax.Array:
    """What lies behind the last window is cropped, and padding that is not known added."""
    return resized(x, reached_edges(g))


def reached_edges(g: Geometry) -> list[tuple[int, int]]:
    """What :func:`reached` adds at the ends: nothing or less, or padding that is not known."""
    ends = [(lo, hi - rest) for (lo, hi), rest in zip(g.padding, g.rest, strict=True)]
    return [(0 if known(lo) else lo, min(0, end) if known(end) else end) for lo, end in ends]


def images(g: Geometry) -> lax.ConvDimensionNumbers:
    """Images (N, *size, C), kernels (*window, C, D)."""
    image = (0, g.rank + 1, *range(1, g.rank + 1))
    return lax.ConvDimensionNumbers(image, (g.rank + 1, g.rank, *range(g.rank)), image)
