r"""Padding with zeros or with the input's own elements, and cropping; linear maps all.

Every element that is added is an element of the input (or zero), so that its gradient is added to
that element's: where forward propagation copies, back-propagation adds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jcnn.axes import (
    FILLS,
    ZEROS,
    Padding,
    Pairs,
    check_filled,
    integer_pads,
    known,
    resized,
    times,
)
from jcnn.geometry import Geometry
from jcnn.lowering import windows
from jcnn.ops import spatial
from jcnn.ops.arguments import floating, naming
from jcnn.ops.mesh import image, on_mesh
from jcnn.ops.rule import linear
from jcnn.ops.spatial import Parts
from jcnn.precision import in_float32

_NUMPY: dict[str, Any] = {"CIRCULAR": "wrap", "REFLECT": "reflect", "REPLICATE": "edge"}


def pad(x: ArrayLike, padding: Padding, *, mode: str = ZEROS) -> jax.Array:
    r"""Pad the spatial axes, or crop them where ``padding`` is negative.

    .. math:: y[m] = x[i(m - p)]

    for padding :math:`p` before the first element. Of :math:`n` elements :math:`i(j)` names the
    one that stands at place :math:`j` outside: :math:`j \bmod n` ("CIRCULAR"), the one as far
    inside the edge, which is not repeated ("REFLECT"), the edge's ("REPLICATE"); there is none
    ("ZEROS").

    Args:
        x: Input, (N, *size, C), floating point.
        padding: An integer for all sides, or one or a pair (before, after) for each axis; negative
            numbers crop, with zeros alone.
        mode: "ZEROS", "CIRCULAR", "REFLECT" or "REPLICATE", in any case. Padding may be longer than
            the input, which is then gone through again, as :func:`numpy.pad` does.

    Returns:
        (N, *(before + size + after), C), of the same dtype.

    Raises:
        TypeError: ``x`` is not floating point, or ``padding`` not of integers.
        ValueError: The mode is unknown, or the padding leaves nothing.

    Gradient:
        :math:`\partial L/\partial x[n] = \sum_{m : i(m - p) = n} \delta[m]`.
        Nothing is kept between the passes.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([1.0, 2.0, 3.0]).reshape(1, 3, 1)
    >>> pad(x, 2, mode="reflect").ravel()
    Array([3., 2., 1., 2., 3., 2., 1.], dtype=float32)
    >>> pad(x, [(-1, 1)]).ravel()
    Array([2., 3., 0.], dtype=float32)
    """
    (x,) = floating("pad", x=x)
    with naming("pad"):
        border = place_border(spatial.size_of(x), padding, mode)
        one = (1,) * len(border.size)
        g = Geometry(border.size, one, one, border.edges, one, fill=border.mode)
        parts = spatial.parts_of(g, x)
    return on_mesh(partial(_padded, g, parts), x, spec=image(x, x))


def _padded(g: Geometry, parts: Parts, x: jax.Array) -> jax.Array:
    g, x = spatial.windows_of(g, parts), spatial.exchanged(parts, x)
    return _surrounded(Border(g.size, g.padding, g.fill), x)


@dataclass(frozen=True)
class Border:
    """What is put around an input of a given size, or cropped from it."""

    size: tuple[int, ...]
    edges: Pairs
    mode: str = ZEROS


def place_border(size: tuple[int, ...], padding: Padding, mode: str) -> Border:
    """Resolve what a caller writes."""
    name = str(mode).upper()
    if name not in (ZEROS, *FILLS):
        raise ValueError(f"mode must be one of {', '.join((ZEROS, *FILLS))}, found {mode!r}")
    pairs = integer_pads(padding, len(size))
    if any(known(n) and n < 1 for n in resized(size, pairs)):
        raise ValueError(f"padding {pairs} leaves nothing of the input {times(size)}")
    if name != ZEROS and min(map(min, pairs)) < 0:
        raise ValueError(f"padding must be at least 0 with mode {name}, found {pairs}")
    check_filled(name, size, pairs)
    return Border(size, pairs, name)


def bordered(g: Geometry, parts: Parts, x: jax.Array) -> tuple[Geometry, jax.Array]:
    """Windows padded with zeros alone, and the input with its border, or what a device sees of it.

    ``parts`` are those of the axes that the input is split along.
    """
    g, x = spatial.windows_of(g, parts), spatial.exchanged(parts, x)
    if any(map(any, g.border)):
        x = _surrounded(Border(g.size, g.border, g.fill), x)
    return g.bordered(), x


def unbordered(g: Geometry, parts: Parts, dx: jax.Array) -> jax.Array:
    """Adjoint of :func:`bordered`."""
    g = spatial.windows_of(g, parts)
    if any(map(any, g.border)):
        dx = _gathered(Border(g.size, g.border, g.fill), dx)
    return spatial.combined(parts, dx)


@linear
def _surrounded(border: Border, x: jax.Array) -> jax.Array:
    if border.mode == ZEROS:
        return windows.resized(x, border.edges)
    for axis, (n, edges) in enumerate(zip(border.size, border.edges, strict=True), 1):
        if any(edges):
            runs = [_take(run, x, axis) for run in _runs(n, edges, border.mode)]
            x = lax.concatenate(runs, axis)
    return x


@_surrounded.adjoint
def _gathered(border: Border, dy: jax.Array) -> jax.Array:
    if border.mode == ZEROS:
        return windows.resized(dy, [(-lo, -hi) for lo, hi in border.edges])
    return _added_up(border, dy)


@in_float32
def _added_up(border: Border, dy: jax.Array) -> jax.Array:
    for axis, (n, edges) in enumerate(zip(border.size, border.edges, strict=True), 1):
        if any(edges):
            dy = _place(list(_runs(n, edges, border.mode)), dy, axis, n)
    return dy


@dataclass(frozen=True)
class _Run:
    """Elements of an axis in a row: forward (step 1), backward (-1) or one again and again (0)."""

    place: int
    first: int
    length: int
    step: int

    @property
    def lowest(self) -> int:
        """The first of its elements in the input's order."""
        return self.first - (self.length - 1 if self.step < 0 else 0)

    @property
    def count(self) -> int:
        """How many elements it is of."""
        return self.length if self.step else 1


def _runs(n: int, edges: tuple[int, int], mode: str) -> Iterator[_Run]:
    """Where each element of a padded axis comes from, in few runs."""
    rows: list[list[int]] = []
    for element in np.pad(np.arange(n), edges, _NUMPY[mode]).tolist():
        if rows and _goes_on(rows[-1], element):
            rows[-1].append(element)
        else:
            rows.append([element])
    place = 0
    for row in rows:
        step = row[1] - row[0] if len(row) > 1 else 1
        yield _Run(place, row[0], len(row), step)
        place += len(row)


def _goes_on(row: list[int], element: int) -> bool:
    step = element - row[-1]
    return abs(step) < 2 and (len(row) == 1 or step == row[1] - row[0])


def _take(run: _Run, x: jax.Array, axis: int) -> jax.Array:
    part = lax.slice_in_dim(x, run.lowest, run.lowest + run.count, axis=axis)
    if run.step == 0:
        shape = (*x.shape[:axis], run.length, *x.shape[axis + 1 :])
        return jnp.broadcast_to(part, shape)
    return part if run.step > 0 else lax.rev(part, (axis,))


def _place(runs: list[_Run], dy: jax.Array, axis: int, n: int) -> jax.Array:
    """Adjoint of the concatenated runs: each adds its part where it was taken."""
    dx = jnp.zeros((*dy.shape[:axis], n, *dy.shape[axis + 1 :]), dy.dtype)
    for run in runs:
        part = lax.slice_in_dim(dy, run.place, run.place + run.length, axis=axis)
        if run.step == 0:
            part = part.sum(axis, keepdims=True)
        elif run.step < 0:
            part = lax.rev(part, (axis,))
        sides = [(0, 0, 0)] * dy.ndim
        sides[axis] = (run.lowest, n - run.lowest - run.count, 0)
        dx = dx + lax.pad(part, jnp.zeros((), dy.dtype), sides)
    return dx
