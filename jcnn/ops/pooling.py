r"""Average, squared and decimation pooling [L "Other types of pooling"].

But for the square they are linear, so that each one's gradient is its adjoint.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike, DTypeLike

from jcnn import lowering
from jcnn.axes import Axes, Padding, Pairs, boolean, known, per_axis
from jcnn.geometry import Geometry, place_pool
from jcnn.ops import spatial
from jcnn.ops.arguments import floating, naming, positions
from jcnn.ops.devices import averaged
from jcnn.ops.mesh import image, on_mesh, positions_together
from jcnn.ops.padding import bordered
from jcnn.ops.rule import arguments, linear, rule
from jcnn.ops.spatial import Parts
from jcnn.precision import in_float32


@linear
def _window_sum(geometry: Geometry, x: jax.Array) -> jax.Array:
    return lowering.window_sum(geometry, x)


@_window_sum.adjoint
def _window_spread(geometry: Geometry, dy: jax.Array) -> jax.Array:
    return lowering.window_spread(geometry, dy)


def average_pool(
    x: ArrayLike,
    window: Axes,
    *,
    strides: Axes | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> jax.Array:
    r"""Average each window.

    .. math:: a[m] = \frac{1}{M} \sum_{m'} z[s m + m']

    over the :math:`M` elements of a window; padding counts as zeros, so the divisor is the same
    everywhere, but for ``count_include_pad=False`` and ``ceil_mode``.

    Args:
        x: Input, (N, *size, C), floating point.
        window: See :func:`jcnn.ops.max_pool`.
        strides: See :func:`jcnn.ops.max_pool`.
        padding: See :func:`jcnn.ops.max_pool`.
        ceil_mode: See :func:`jcnn.ops.max_pool`; what is beyond the padding is never counted.
        count_include_pad: Whether :math:`M` counts the padding.

    Returns:
        (N, *output, C), of the same dtype.

    Raises:
        TypeError: ``x`` is not floating point.
        ValueError: The window doesn't fit, or padding alone fills one.

    Gradient:
        :math:`\partial L/\partial z[n] = \sum_{m : n \in \text{window } m} \delta[m] / M_m`, with
        :math:`M_m` the divisor of window :math:`m` [from L "Other types of pooling"]. Nothing is
        kept between the passes.

    >>> import jax.numpy as jnp
    >>> average_pool(jnp.array([1.0, 3.0, -2.0, -1.0]).reshape(1, 4, 1), 2).ravel()
    Array([ 2. , -1.5], dtype=float32)
    """
    (x,) = floating("average_pool", x=x)
    with naming("average_pool"):
        size = spatial.size_of(x)
        padded = place_pool(size, window, strides, padding)
        resolved = place_pool(size, window, strides, padding, ceil_mode=ceil_mode)
        all_count = boolean("count_include_pad", count_include_pad)
        counted = padded.bordered().padding if all_count else ((0, 0),) * len(size)
        parts = spatial.parts_of(resolved, x)
    x = positions_together(x)
    return on_mesh(partial(_average, resolved, parts, counted), x, spec=image(x, x))


def _average(geometry: Geometry, parts: Parts, counted: Pairs, x: jax.Array) -> jax.Array:
    windows, x = bordered(geometry, parts, x)
    return _window_average(_Average(windows, geometry.bordered(), parts, counted), x)


class _Average(NamedTuple):
    """Windows, those over the whole image, how it is split, and what counts of its padding."""

    windows: Geometry
    whole: Geometry
    parts: Parts
    counted: Pairs


@linear
@in_float32
def _window_average(static: _Average, x: jax.Array) -> jax.Array:
    return lowering.window_sum(static.windows, x) / _divisor(static, x.dtype)


@_window_average.adjoint
@in_float32
def _window_shares(static: _Average, dy: jax.Array) -> jax.Array:
    return lowering.window_spread(static.windows, dy / _divisor(static, dy.dtype))


def _divisor(static: _Average, dtype: DTypeLike) -> jax.Array | int:
    """How many elements of each window count: those of the input, and so many before and after."""
    _, g, parts, counted = static
    if counted == g.padding:
        return g.taps
    counts = []
    for axis, (before, after) in enumerate(counted):
        # Of a length that jax.export leaves open, counted when the program runs.
        numbers = np if known(g.size[axis]) else jnp
        first = numbers.arange(g.output[axis]) * g.strides[axis] - g.padding[axis][0]
        ends = numbers.stack([first, first + g.window[axis]])
        held = numbers.clip(ends, -before, g.size[axis] + after)
        # along its own axis of (N, *output, C)
        shape = (*(1,) * (axis + 1), -1, *(1,) * (g.rank - axis))
        counts.append(jnp.asarray(numbers.diff(held, axis=0).reshape(shape), dtype))
    return math.prod(spatial.own_run(parts, axis, n) for axis, n in enumerate(counts, 1))


def square_pool(
    x: ArrayLike,
    window: Axes,
    *,
    strides: Axes | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
) -> jax.Array:
    r"""Add up the squares in each window, as the outputs of the TDNN of 1988 do over time.

    .. math:: a[m] = \sum_{m'} z[s m + m']^2

    Args:
        x: Input, (N, *size, C), floating point.
        window: See :func:`jcnn.ops.max_pool`.
        strides: See :func:`jcnn.ops.max_pool`.
        padding: See :func:`jcnn.ops.max_pool`.
        ceil_mode: See :func:`jcnn.ops.max_pool`.

    Returns:
        (N, *output, C), of the same dtype.

    Raises:
        TypeError: ``x`` is not floating point.
        ValueError: The window doesn't fit, or padding alone fills one.

    Gradient:
        :math:`\partial L/\partial z[n] = 2 z[n] \sum_{m : n \in \text{window } m} \delta[m]`.
        Kept between the passes: ``x``.

    >>> import jax.numpy as jnp
    >>> square_pool(jnp.array([1.0, 3.0, -2.0, -1.0]).reshape(1, 4, 1), 2).ravel()
    Array([10.,  5.], dtype=float32)
    """
    (x,) = floating("square_pool", x=x)
    with naming("square_pool"):
        size = spatial.size_of(x)
        resolved = place_pool(size, window, strides, padding, ceil_mode=ceil_mode)
        parts = spatial.parts_of(resolved, x)
    x = positions_together(x)
    return on_mesh(partial(_squares, resolved, parts), x, spec=image(x, x))


def _squares(geometry: Geometry, parts: Parts, x: jax.Array) -> jax.Array:
    return _square_pool(*bordered(geometry, parts, x))


@rule(keeps=arguments, statics=1)
@in_float32
def _square_pool(geometry: Geometry, x: jax.Array) -> jax.Array:
    return _window_sum(geometry, x * x)


@_square_pool.pullback
@in_float32
def _(geometry: Geometry, x: jax.Array, dy: jax.Array) -> jax.Array:
    return 2 * x * _window_spread(geometry, dy)


def decimate(x: ArrayLike, factor: Axes) -> jax.Array:
    r"""Keep every ``factor``-th element of each spatial axis, from the first.

    .. math:: a[m] = z[M m]

    [L "Decimation pooling"], the lecture's ReLU apart.

    Args:
        x: Input, (N, *size, C), floating point.
        factor: :math:`M`; one integer, or one per spatial axis.

    Returns:
        (N, *ceil(size / factor), C), of the same dtype.

    Raises:
        TypeError: ``x`` is not floating point, or ``factor`` not an integer.
        ValueError: ``factor`` is less than one, or has another number of axes.

    Gradient:
        :math:`\partial L/\partial z[n] = \delta[n / M]` where :math:`M` divides :math:`n`, else 0.
        Nothing is kept between the passes.

    >>> import jax.numpy as jnp
    >>> decimate(jnp.arange(5.0).reshape(1, 5, 1), 2).ravel()
    Array([0., 2., 4.], dtype=float32)
    """
    (x,) = floating("decimate", x=x)
    with naming("decimate"):
        size = spatial.size_of(x)
        factors = per_axis("factor", factor, len(size))
        one = (1,) * len(size)
        parts = spatial.parts_of(Geometry(size, one, factors, ((0, 0),) * len(size), one), x)
    x = spatial.exchanged(parts, positions_together(x))
    return _every((x.shape[1:-1], factors), x)


@linear
def _every(static: tuple[tuple[int, ...], tuple[int, ...]], x: jax.Array) -> jax.Array:
    _, factor = static
    return lax.slice(x, (0,) * x.ndim, x.shape, (1, *factor, 1))


@_every.adjoint
def _between_zeros(static: tuple[tuple[int, ...], tuple[int, ...]], dy: jax.Array) -> jax.Array:
    size, factor = static
    edges = [
        (0, n - ((m - 1) * f + 1) if m else n, f - 1)
        for n, m, f in zip(size, dy.shape[1:-1], factor, strict=True)
    ]
    return lax.pad(dy, jnp.zeros((), dy.dtype), [(0, 0, 0), *edges, (0, 0, 0)])


def global_average_pool(x: ArrayLike) -> jax.Array:
    r"""Average over all spatial axes: :math:`a = \frac{1}{M} \sum_n z[n]`.

    Args:
        x: Input, (N, *size, C), floating point.

    Returns:
        (N, C), of the same dtype.

    Raises:
        TypeError: ``x`` is not floating point.
        ValueError: ``x`` has no spatial axis, or no element along one.

    Gradient:
        :math:`\partial L/\partial z[n] = \delta / M`. Nothing is kept between the passes.

    >>> import jax.numpy as jnp
    >>> global_average_pool(jnp.array([1.0, 3.0, -2.0, -1.0]).reshape(1, 4, 1))
    Array([[0.25]], dtype=float32)
    """
    (x,) = floating("global_average_pool", x=x)
    with naming("global_average_pool"):
        size = positions(x)
    split = tuple(spatial.axes_of(x).values())
    return averaged(split, _mean(size, x)) if split else _mean(size, x)


@linear
@in_float32
def _mean(size: tuple[int, ...], x: jax.Array) -> jax.Array:
    return x.mean(axis=tuple(range(1, 1 + len(size))))


@_mean.adjoint
@in_float32
def _spread_evenly(size: tuple[int, ...], dy: jax.Array) -> jax.Array:
    share = dy / math.prod(size)
    return jnp.broadcast_to(
        jnp.expand_dims(share, tuple(range(1, 1 + len(size)))), (dy.shape[0], *size, dy.shape[-1])
    )
