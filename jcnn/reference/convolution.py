"""Convolution on ``lax.conv_general_dilated``; see :mod:`jcnn.ops.convolution`."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

Axes = int | Sequence[int]
Padding = str | int | Sequence[int | Sequence[int]]


def _per_axis(value: Axes, rank: int) -> tuple[int, ...]:
    return (value,) * rank if isinstance(value, int) else tuple(value)


def _pads(padding: Padding, window: Sequence[int], dilation: Sequence[int]) -> list | str:
    """Write ``padding`` as lax understands it; lax knows "SAME" and "VALID" itself."""
    if padding == "FULL":
        return [(d * (k - 1),) * 2 for k, d in zip(window, dilation, strict=True)]
    if isinstance(padding, str):
        return padding
    if isinstance(padding, int):
        return [(padding, padding)] * len(window)
    return [(p, p) if isinstance(p, int) else (p[0], p[1]) for p in padding]


def _dimensions(rank: int) -> lax.ConvDimensionNumbers:
    last, spatial = rank + 1, tuple(range(1, rank + 1))
    return lax.ConvDimensionNumbers(
        lhs_spec=(0, last, *spatial),
        rhs_spec=(last, last - 1, *range(rank)),
        out_spec=(0, last, *spatial),
    )


def correlate(
    x: jax.Array,
    w: jax.Array,
    b: jax.Array | None = None,
    *,
    strides: Axes = 1,
    padding: Padding = "VALID",
    dilation: Axes = 1,
    groups: int = 1,
) -> jax.Array:
    """Correlate, as ``lax.conv_general_dilated`` does."""
    rank = w.ndim - 2
    dilation = _per_axis(dilation, rank)
    y = lax.conv_general_dilated(
        x,
        w,
        _per_axis(strides, rank),
        _pads(padding, w.shape[:-2], dilation),
        rhs_dilation=dilation,
        dimension_numbers=_dimensions(rank),
        feature_group_count=groups,
    )
    return y if b is None else y + b


def convolve(
    x: jax.Array,
    w: jax.Array,
    b: jax.Array | None = None,
    *,
    strides: Axes = 1,
    padding: Padding = "VALID",
    dilation: Axes = 1,
    groups: int = 1,
) -> jax.Array:
    """Correlate with the flipped kernel."""
    flipped = jnp.flip(w, axis=tuple(range(w.ndim - 2)))
    return correlate(
        x, flipped, b, strides=strides, padding=padding, dilation=dilation, groups=groups
    )


def convolve_transpose(
    x: jax.Array,
    w: jax.Array,
    b: jax.Array | None = None,
    *,
    strides: Axes = 1,
    padding: Padding = "VALID",
    dilation: Axes = 1,
    groups: int = 1,
) -> jax.Array:
    """Correlate the input, spread by ``strides``, with the flipped kernel."""
    rank = w.ndim - 2
    strides, dilation = _per_axis(strides, rank), _per_axis(dilation, rank)
    edges = []
    named = _pads(padding, w.shape[:-2], dilation)
    for axis, (n, s, k, d) in enumerate(
        zip(x.shape[1:-1], strides, w.shape[:-2], dilation, strict=True)
    ):
        reach = d * (k - 1)
        whole = s * (n - 1) + reach + 1
        if named == "SAME":
            low = max(whole - s * n, 0) // 2
            high = whole - s * n - low
        else:
            low, high = (0, 0) if isinstance(named, str) else named[axis]
        edges.append((reach - low, reach - high))
    y = lax.conv_general_dilated(
        x,
        jnp.flip(w, axis=tuple(range(rank))),
        (1,) * rank,
        edges,
        lhs_dilation=strides,
        rhs_dilation=dilation,
        dimension_numbers=_dimensions(rank),
        feature_group_count=groups,
    )
    return y if b is None else y + b


def dense(x: jax.Array, w: jax.Array, b: jax.Array | None = None) -> jax.Array:
    """Multiply by a matrix and add a bias."""
    y = jnp.matmul(x, w)
    return y if b is None else y + b
