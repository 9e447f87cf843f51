"""Convolution on ``lax.conv_general_dilated``; see :mod:`jcnn.ops.convolution`."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jcnn.reference.arrays import of_arrays
from jcnn.reference.padding import MODES, Axes, Padding, Pairs, bordered, folded, pads, per_axis


def _with_bias(y: jax.Array, b: jax.Array | None) -> jax.Array:
    return y if b is None else y + lax.broadcast_to_rank(b, y.ndim)


def _dimensions(rank: int) -> lax.ConvDimensionNumbers:
    last, spatial = rank + 1, tuple(range(1, rank + 1))
    return lax.ConvDimensionNumbers(
        lhs_spec=(0, last, *spatial),
        rhs_spec=(last, last - 1, *range(rank)),
        out_spec=(0, last, *spatial),
    )


@of_arrays
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
    """Correlate, as ``lax.conv_general_dilated`` does.

    XLA's CPU backend reads memory that nobody wrote where a convolution's padding is negative, and
    JAX derives such gradients where padding exceeds the window's reach or a stride leaves a rest of
    the input unused. Both are therefore taken out of the convolution: padded or cropped before.
    """
    rank = w.ndim - 2
    strides, dilation = per_axis(strides, rank), per_axis(dilation, rank)
    span = [d * (k - 1) + 1 for d, k in zip(dilation, w.shape[:-2], strict=True)]
    before, within = [], []
    x, edges = bordered(x, padding, pads(padding, x.shape[1:-1], span, strides))
    for n, reach, s, (lo, hi) in zip(x.shape[1:-1], span, strides, edges, strict=True):
        used = hi - (n + lo + hi - reach) % s
        within.append((min(lo, reach - 1), min(max(used, 0), reach - 1)))
        before.append((lo - within[-1][0], used - within[-1][1], 0))
    if any(map(any, before)):
        x = lax.pad(x, x.dtype.type(0), [(0, 0, 0), *before, (0, 0, 0)])
    y = lax.conv_general_dilated(
        x,
        w,
        strides,
        within,
        rhs_dilation=dilation,
        dimension_numbers=_dimensions(rank),
        feature_group_count=groups,
    )
    return _with_bias(y, b)


@of_arrays
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


@of_arrays
def convolve_transpose(
    x: jax.Array,
    w: jax.Array,
    b: jax.Array | None = None,
    *,
    strides: Axes = 1,
    padding: Padding = "VALID",
    dilation: Axes = 1,
    groups: int = 1,
    output_padding: Axes = 0,
) -> jax.Array:
    """Correlate the input, spread by ``strides``, with the flipped kernel; then crop, or add zeros.

    Either is what no window reaches, lest XLA meet negative padding here or in the derivative.
    """
    rank = w.ndim - 2
    strides, dilation = per_axis(strides, rank), per_axis(dilation, rank)
    span = [d * (k - 1) + 1 for d, k in zip(dilation, w.shape[:-2], strict=True)]
    more = per_axis(output_padding, rank)
    edges = [
        (lo, hi + n)
        for (lo, hi), n in zip(
            _transposed_pads(padding, x.shape[1:-1], span, strides), more, strict=True
        )
    ]
    within = [
        (min(max(lo, 0), k - 1), min(max(hi, 0), k - 1))
        for (lo, hi), k in zip(edges, span, strict=True)
    ]
    y = lax.conv_general_dilated(
        x,
        jnp.flip(w, axis=tuple(range(rank))),
        (1,) * rank,
        within,
        lhs_dilation=strides,
        rhs_dilation=dilation,
        dimension_numbers=_dimensions(rank),
        feature_group_count=groups,
    )
    cut = (slice(max(-lo, 0), -max(-hi, 0) or None) for lo, hi in edges)
    y = y[(slice(None), *cut)]
    beyond = [
        (max(lo - k + 1, 0), max(hi - k + 1, 0)) for (lo, hi), k in zip(edges, span, strict=True)
    ]
    y = jnp.pad(y, [(0, 0), *beyond, (0, 0)])
    if isinstance(padding, str) and padding.upper() in MODES:
        y = folded(y, padding, pads(padding, span, span, strides))
    return _with_bias(y, b)


def _transposed_pads(
    padding: Padding, size: Sequence[int], span: Sequence[int], strides: Sequence[int]
) -> Pairs:
    """Pad the spread input by the window's reach less what ``padding`` cuts off the output."""
    name = padding.upper() if isinstance(padding, str) else ""
    if name.startswith("SAME"):
        whole = [s * (n - 1) + k for n, k, s in zip(size, span, strides, strict=True)]
        cuts = []
        for length, n, s in zip(whole, size, strides, strict=True):
            total = max(length - s * n, 0)
            low = total // 2 if name == "SAME" else total - total // 2
            cuts.append((low, length - s * n - low))
    elif name in MODES:  # the whole of s n elements with their border is what is folded
        cuts = [(0, 1 - s) for s in strides]
    else:
        cuts = pads(padding, size, span, strides)
    return [(k - 1 - lo, k - 1 - hi) for k, (lo, hi) in zip(span, cuts, strict=True)]


@of_arrays
def dense(x: jax.Array, w: jax.Array, b: jax.Array | None = None) -> jax.Array:
    """Multiply by a matrix and add a bias."""
    y = jnp.matmul(x, w)
    return _with_bias(y, b)
