"""Padding on ``jnp.pad``; see :mod:`jcnn.ops.padding`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jcnn.axes import is_single
from jcnn.reference.arrays import of_arrays

Axes = int | Sequence[int]
Padding = str | int | Sequence[int | Sequence[int]]
Pairs = list[tuple[int, int]]
MODES: dict[str, Any] = {"CIRCULAR": "wrap", "REFLECT": "reflect", "REPLICATE": "edge"}


def per_axis(value: Axes, rank: int) -> tuple[int, ...]:
    """Write one number for all axes, or one per axis, as one per axis."""
    return (int(value),) * rank if is_single(value) else tuple(map(int, value))


def pads(
    padding: Padding, size: Sequence[int], span: Sequence[int], strides: Sequence[int]
) -> Pairs:
    """Write ``padding`` as pairs of integers, for windows that span ``span`` elements."""
    if not isinstance(padding, str):
        sides = per_axis(padding, len(span)) if is_single(padding) else padding
        return [(lo, hi) for lo, hi in (per_axis(p, 2) for p in sides)]
    if padding.upper() == "FULL":
        return [(n - 1, n - 1) for n in span]
    if padding.upper() in MODES:
        return [((n - 1) // 2, n // 2) for n in span]
    return [(lo, hi) for lo, hi in lax.padtype_to_pads(size, span, strides, padding.upper())]


@of_arrays
def pad(x: jax.Array, padding: Padding, *, mode: str = "ZEROS") -> jax.Array:
    """Pad the spatial axes, or crop them where ``padding`` is negative."""
    edges = pads(padding, x.shape[1:-1], x.shape[1:-1], x.shape[1:-1])
    if mode.upper() == "ZEROS":
        sides = [(0, 0, 0), *((lo, hi, 0) for lo, hi in edges), (0, 0, 0)]
        return lax.pad(x, x.dtype.type(0), sides)
    return jnp.pad(x, [(0, 0), *edges, (0, 0)], mode=MODES[mode.upper()])


def bordered(x: jax.Array, padding: Padding, edges: Pairs) -> tuple[jax.Array, Pairs]:
    """Fill from the input, or crop; what is left is padding with zeros."""
    if isinstance(padding, str) and padding.upper() in MODES:
        return pad(x, edges, mode=padding), [(0, 0)] * len(edges)
    cropped = pad(x, [(min(lo, 0), min(hi, 0)) for lo, hi in edges])
    return cropped, [(max(lo, 0), max(hi, 0)) for lo, hi in edges]


def folded(y: jax.Array, mode: str, edges: Pairs) -> jax.Array:
    """Add each padded element to the element that it would be a copy of."""
    for axis, (lo, hi) in enumerate(edges, 1):
        n = y.shape[axis] - lo - hi
        copied = np.pad(np.arange(n), (lo, hi), mode=MODES[mode.upper()])
        y = jnp.moveaxis(y, axis, 0)
        y = jnp.zeros((n, *y.shape[1:]), y.dtype).at[copied].add(y)
        y = jnp.moveaxis(y, 0, axis)
    return y
