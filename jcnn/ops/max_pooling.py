r"""Max pooling: the gradient goes to the one element that forward propagation chose [L].

"The activation gradient is back-propagated to just one of the excitation gradients in its pool:
the one that had the maximum value" [L "Back-Prop for Max Pooling"]. What is kept between the passes
is therefore not the input but which element won.
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jcnn import lowering
from jcnn.axes import Axes, Padding
from jcnn.geometry import Geometry, place_pool
from jcnn.ops import spatial
from jcnn.ops.arguments import floating, naming, positions
from jcnn.ops.devices import summed
from jcnn.ops.mesh import axis, image, on_mesh, positions_together
from jcnn.ops.padding import bordered
from jcnn.ops.rule import linear, rule
from jcnn.ops.spatial import Parts


@linear
def _gather(geometry: Geometry, x: jax.Array, winner: jax.Array) -> jax.Array:
    return lowering.gather(geometry, x, winner)


@_gather.adjoint
def _scatter(geometry: Geometry, dy: jax.Array, winner: jax.Array) -> jax.Array:
    return lowering.scatter(geometry, dy, winner)


def max_pool(
    x: ArrayLike,
    window: Axes,
    *,
    strides: Axes | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
) -> jax.Array:
    r"""Take the largest element of each window.

    .. math:: a[m] = \max_{m'} z[s m + m']

    Args:
        x: Input, (N, *size, C), floating point.
        window: Size of a window; one integer, or one per spatial axis.
        strides: Step between windows; the window itself if None.
        padding: As in :func:`jcnn.ops.correlate`; padding never wins. A window must hold at
            least one element of the input.
        ceil_mode: Whether a last window may reach beyond the input and its padding, if it begins
            within; else a rest that fills no window is left out.

    Returns:
        (N, *output, C), of the same dtype.

    Raises:
        TypeError: ``x`` is not floating point.
        ValueError: The window doesn't fit, or padding alone fills one.

    Gradient:
        :math:`\partial L/\partial z` receives :math:`\delta[m]` at the arg max of each window
        [L "Back-Prop for Max Pooling"]; at a tie at the first element in row-major window order.
        Kept between the passes: which element won, one byte per output element (for windows of up
        to 254 elements), not the input; on a TPU the input, in which XLA finds the winners faster.
        A window that holds NaN gives NaN; its gradient reaches one of its elements at most, which
        is not specified.

    >>> import jax.numpy as jnp
    >>> max_pool(jnp.array([1.0, 3.0, -2.0, -1.0]).reshape(1, 4, 1), 2).ravel()
    Array([ 3., -1.], dtype=float32)
    """
    (x,) = floating("max_pool", x=x)
    with naming("max_pool"):
        size = spatial.size_of(x)
        resolved = place_pool(size, window, strides, padding, ceil_mode=ceil_mode)
        parts = spatial.parts_of(resolved, x)
    x = positions_together(x)
    return on_mesh(partial(_largest, resolved, parts, None), x, spec=image(x, x))


def relu_max_pool(
    x: ArrayLike,
    window: Axes,
    *,
    strides: Axes | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
) -> jax.Array:
    r"""Take the largest rectified element of each window, in one operation.

    .. math:: a[m] = \max_{m'} \mathrm{ReLU}(z[s m + m'])

    Args:
        x: Excitations :math:`z`, (N, *size, C), floating point.
        window: See :func:`max_pool`.
        strides: See :func:`max_pool`.
        padding: See :func:`max_pool`.
        ceil_mode: See :func:`max_pool`.

    Returns:
        (N, *output, C), of the same dtype, never negative; NaN where a window holds NaN, with the
        gradient of :func:`max_pool` there.

    Raises:
        TypeError: ``x`` is not floating point.
        ValueError: The window doesn't fit, or padding alone fills one.

    Gradient:
        .. math::
            \frac{\partial L}{\partial z[s m + m']} = \begin{cases} \delta[m] & m' = m^*, \;
            a[m] > 0 \\ 0 & \text{otherwise} \end{cases}

        [L "Back-Prop for Max Pooling"], added up where windows overlap. ReLU'(0) = 0; at a tie the
        first element in row-major window order. Kept between the passes: one byte per output
        element (which element won, or none), in place of the whole rectified input; on a TPU the
        input, as :func:`max_pool`.

    >>> import jax.numpy as jnp
    >>> relu_max_pool(jnp.array([1.0, 3.0, -2.0, -1.0]).reshape(1, 4, 1), 2).ravel()
    Array([3., 0.], dtype=float32)
    """
    (x,) = floating("relu_max_pool", x=x)
    with naming("relu_max_pool"):
        size = spatial.size_of(x)
        resolved = place_pool(size, window, strides, padding, ceil_mode=ceil_mode)
        parts = spatial.parts_of(resolved, x)
    x = positions_together(x)
    return on_mesh(partial(_largest, resolved, parts, 0.0), x, spec=image(x, x))


def _largest(geometry: Geometry, parts: Parts, floor: float | None, x: jax.Array) -> jax.Array:
    windows, x = bordered(geometry, parts, x)
    if parts and any(lo > 0 or hi > 0 for lo, hi in geometry.padding):
        x = spatial.filled(parts, -math.inf, x)  # padding never wins
    if lowering.serves(windows):
        return _maxima(windows, floor, x)
    return _max_pool(windows, floor, x)[0]


@rule(keeps=lambda results, x: results[1:], statics=2)
def _max_pool(geometry: Geometry, floor: float | None, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the largest elements and which they were ("none" where not above ``floor``)."""
    return _winners(geometry, x, floor)


# One operation where nothing else is compiled: jax_debug_nans and jax_debug_infs look at what comes
# out of it, not at the -inf of a padding and at the NaN that is there for windows that hold one.
_winners = jax.jit(lowering.max_pool, static_argnums=(0, 2), inline=True)


@_max_pool.pullback
def _(
    geometry: Geometry, floor: float | None, winner: jax.Array, dy: tuple[jax.Array, object]
) -> jax.Array:
    return _scatter(geometry, dy[0], winner)


@rule(keeps=lambda y, x: (y, x), statics=2)
def _maxima(geometry: Geometry, floor: float | None, x: jax.Array) -> jax.Array:
    """Return the same for a TPU, which finds the winners in the input again in less time."""
    return lowering.maxima(geometry, x, floor)


@_maxima.pullback
def _(
    geometry: Geometry, floor: float | None, y: jax.Array, x: jax.Array, dy: jax.Array
) -> jax.Array:
    if floor is not None:
        dy = jnp.where(y > lax.full_like(y, floor), dy, jnp.zeros((), dy.dtype))
    return _scatter_in(geometry, dy, x)


@linear
def _gather_in(geometry: Geometry, a: jax.Array, x: jax.Array) -> jax.Array:
    return lowering.gather(geometry, a, lowering.max_pool(geometry, x)[1])


@_gather_in.adjoint
def _scatter_in(geometry: Geometry, dy: jax.Array, x: jax.Array) -> jax.Array:
    return lowering.scatter_in(geometry, dy, x)


def global_max_pool(x: ArrayLike) -> jax.Array:
    r"""Take the largest element over all spatial axes: :math:`a = \max_n z[n]`.

    Args:
        x: Input, (N, *size, C), floating point.

    Returns:
        (N, C), of the same dtype.

    Raises:
        TypeError: ``x`` is not floating point.
        ValueError: ``x`` has no spatial axis, or no element along one.

    Gradient:
        :math:`\delta` goes to the arg max, at a tie to the first element in row-major order
        [L "Back-Prop for Max Pooling", "Written Example"]; where there is NaN, to the first of it.
        Kept between the passes: the winner's index, one integer per channel.

    >>> import jax.numpy as jnp
    >>> global_max_pool(jnp.array([1.0, 3.0, -2.0, -1.0]).reshape(1, 4, 1))
    Array([[3.]], dtype=float32)
    """
    (x,) = floating("global_max_pool", x=x)
    with naming("global_max_pool"):
        length = math.prod(positions(x))
    if split := spatial.axes_of(x):
        return _global_max_of_parts(tuple(split.items()), x)
    x = positions_together(x)
    return _global_max(length, x.reshape(x.shape[0], length, x.shape[-1]))[0]


@rule(keeps=lambda results, x: results[1:], statics=1)
def _global_max(length: int, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the largest of (N, L, C) along L, and where it (or NaN) first stands.

    An ``argmax`` compares pairs of value and index, which XLA's CPU backend neither vectorizes nor
    divides between cores: two reductions take a sixth of its time.
    """
    return on_mesh(partial(_largest_of_all, length), x, spec=(axis(x, 0), axis(x, 2)))


def _largest_of_all(length: int, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    y = x.max(axis=1)
    place = lax.broadcasted_iota(jnp.int32, x.shape, 1)
    beyond = jnp.int32(length)
    # XLA's libraries on a CPU lose NaN in such a maximum: where there is one, its place, below 0.
    found = jnp.where(jnp.isnan(x), place - beyond, jnp.where(x >= y[:, None], place, beyond))
    first = found.min(axis=1)
    nan = first < 0
    return lowering.nan_where(nan, y), jnp.where(nan, first + beyond, first)


@_global_max.pullback
def _(length: int, winner: jax.Array, dy: tuple[jax.Array, object]) -> jax.Array:
    return _place(length, dy[0], winner)


@linear
def _pick(length: int, x: jax.Array, winner: jax.Array) -> jax.Array:
    def taken(x: jax.Array, winner: jax.Array) -> jax.Array:
        return jnp.take_along_axis(x, winner[:, None], axis=1)[:, 0]

    return on_mesh(taken, x, winner, spec=(axis(x, 0), axis(x, 2)))


@_pick.adjoint
def _place(length: int, dy: jax.Array, winner: jax.Array) -> jax.Array:
    def placed(dy: jax.Array, winner: jax.Array) -> jax.Array:
        here = jnp.arange(length, dtype=winner.dtype)[None, :, None] == winner[:, None]
        return jnp.where(here, dy[:, None], jnp.zeros((), dy.dtype))

    return on_mesh(placed, dy, winner, spec=(axis(dy, 0), None, axis(dy, 1)))


def _global_max_of_parts(split: tuple[tuple[int, str], ...], x: jax.Array) -> jax.Array:
    """The same of an image of which each device has a part: one of them has the winner."""
    place, count = spatial.places(split, x)
    seen, within = lax.stop_gradient(x), tuple(range(1, x.ndim - 1))
    names = tuple(name for _, name in split)
    y = lax.pmax(seen.max(axis=within, keepdims=True), names)
    nan = lax.pmax(jnp.isnan(seen).any(axis=within, keepdims=True).astype(jnp.int32), names) > 0
    reached = jnp.where(nan, jnp.isnan(seen), seen >= y)
    winner = lax.pmin(jnp.where(reached, place, count).min(axis=within, keepdims=True), names)
    return summed(names, _take(within, x, place == winner))


@linear
def _take(within: tuple[int, ...], x: jax.Array, here: jax.Array) -> jax.Array:
    return jnp.where(here, x, jnp.zeros((), x.dtype)).sum(axis=within)


@_take.adjoint
def _give(within: tuple[int, ...], dy: jax.Array, here: jax.Array) -> jax.Array:
    return jnp.where(here, jnp.expand_dims(dy, within), jnp.zeros((), dy.dtype))
