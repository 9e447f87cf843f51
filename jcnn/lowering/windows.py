"""Views of an array through a sliding window, and sums of them: what the lowerings are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product

import jax
import jax.numpy as jnp
from jax import lax

from jcnn.geometry import Geometry

# Operations up to which a correlation's program may have one for each tap of the window: beyond, it
# would grow with the window, and so would the time that it takes to compile.
UNROLLED = 50


def resized(a: jax.Array, edges: Sequence[tuple[int, int]], first: int = 1) -> jax.Array:
    """Zeros added around (or, where negative, elements cropped from) axes ``first`` and on."""
    if not any(map(any, edges)):
        return a
    rest = a.ndim - first - len(edges)
    config = [(0, 0, 0)] * first + [(lo, hi, 0) for lo, hi in edges] + [(0, 0, 0)] * rest
    return lax.pad(a, jnp.zeros((), a.dtype), config)


def pad(g: Geometry, x: jax.Array, value: float = 0) -> jax.Array:
    """The input with its padding; negative padding crops."""
    edges = [(lo, hi, 0) for lo, hi in g.padding]
    return lax.pad(x, jnp.asarray(value, x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])


def views(g: Geometry, x: jax.Array) -> Iterator[jax.Array]:
    """The padded input as each element of the windows sees it, in row-major order."""
    for k in product(*map(range, g.window)):
        start = [d * i for d, i in zip(g.dilation, k, strict=True)]
        limit = [i + (m - 1) * s + 1 for i, m, s in zip(start, g.output, g.strides, strict=True)]
        yield lax.slice(x, (0, *start, 0), (x.shape[0], *limit, x.shape[-1]), (1, *g.strides, 1))


def views_from(g: Geometry, x: jax.Array, first: jax.Array, count: int) -> Iterator[jax.Array]:
    """The views of ``count`` elements from ``first`` on, a traced index, all in one row."""
    starts, k = [jnp.zeros((), first.dtype)] * x.ndim, first
    for axis in reversed(range(g.rank)):
        k, within = k // g.window[axis], k % g.window[axis]
        starts[axis + 1] = g.dilation[axis] * within
    seen = [(m - 1) * s + 1 for m, s in zip(g.output, g.strides, strict=True)]
    reach = [*seen[:-1], seen[-1] + (count - 1) * g.dilation[-1]]
    row = lax.dynamic_slice(x, starts, (x.shape[0], *reach, x.shape[-1]))
    for i in range(count):
        start = [0] * x.ndim
        start[-2] = i * g.dilation[-1]
        limit = (x.shape[0], *seen[:-1], start[-2] + seen[-1], x.shape[-1])
        yield lax.slice(row, start, limit, (1, *g.strides, 1))


def overlap_add(g: Geometry, parts: Iterable[jax.Array]) -> jax.Array:
    """Adjoint of the views and the padding: adds each part where its view was taken."""
    dx = None
    for k, part in zip(product(*map(range, g.window)), parts, strict=True):
        spread = [
            (d * i - lo, size + lo - d * i - (m - 1) * s - 1, s - 1)
            for d, i, (lo, _), size, m, s in zip(
                g.dilation, k, g.padding, g.size, g.output, g.strides, strict=True
            )
        ]
        part = lax.pad(part, jnp.zeros((), part.dtype), [(0, 0, 0), *spread, (0, 0, 0)])
        dx = part if dx is None else dx + part
    assert dx is not None
    return dx


def patches(g: Geometry, x: jax.Array) -> jax.Array:
    """Each window of the padded input as one row, (N, *output, taps * C), built axis by axis.

    Axis by axis takes k1 + k2 copies in place of k1 * k2, with longer runs.
    """
    for axis in reversed(range(g.rank)):
        k, m, s, d = g.window[axis], g.output[axis], g.strides[axis], g.dilation[axis]
        x = lax.concatenate(
            [
                lax.slice_in_dim(x, d * i, d * i + (m - 1) * s + 1, s, axis=axis + 1)
                for i in range(k)
            ],
            g.rank + 1,
        )
    return x


def adjoint(g: Geometry) -> Geometry:
    """The correlation of dy with the flipped kernel that is the input gradient at stride 1.

    Its padding is not negative: g has no excess.
    """
    padding = tuple(
        (span - 1 - lo, span - 1 - hi) for span, (lo, hi) in zip(g.span, g.padding, strict=True)
    )
    return Geometry(g.output, g.window, (1,) * g.rank, padding, g.dilation, g.groups)


def spread(g: Geometry, dy: jax.Array) -> tuple[Geometry, jax.Array]:
    """The adjoint at any stride, in which dy stands with zeros between its elements."""
    edges = [
        (0, size + lo + hi - span - (m - 1) * s, s - 1)
        for size, span, m, s, (lo, hi) in zip(
            g.size, g.span, g.output, g.strides, g.padding, strict=True
        )
    ]
    dy = lax.pad(dy, jnp.zeros((), dy.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    return adjoint(replace(g, strides=(1,) * g.rank)), dy


def flipped(g: Geometry, w: jax.Array) -> jax.Array:
    """The kernel of the adjoint: flipped in space, channels exchanged, (*window, D/G, C)."""
    return lax.rev(exchanged(g, w), tuple(range(g.rank)))


def exchanged(g: Geometry, w: jax.Array) -> jax.Array:
    """The kernel with channels and features exchanged in each group, (*window, D/G, C)."""
    c, d = w.shape[-2:]
    w = w.reshape(*g.window, c, g.groups, d // g.groups)
    w = lax.transpose(w, (*range(g.rank), g.rank + 2, g.rank + 1, g.rank))
    return lax.collapse(w, g.rank + 1)


def nan_where(condition: jax.Array, y: jax.Array) -> jax.Array:
    """NaN where the condition holds, y elsewhere.

    A root, and not the constant NaN, which ``jax_debug_nans`` would take for where one arose.
    """
    below = lax.select(condition, lax.full_like(y, -1), lax.full_like(y, 0))
    return lax.select(condition, lax.sqrt(below), y)
