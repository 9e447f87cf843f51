r"""Max pooling: the gradient goes to the one element that forward propagation chose [L].

"The activation gradient is back-propagated to just one of the excitation gradients in its pool:
the one that had the maximum value" [L "Back-Prop for Max Pooling"]. What is kept between the passes
is therefore not the input but which element won.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jcnn import lowering
from jcnn.lowering.geometry import Geometry
from jcnn.ops.adjoint import adjoint_pair
from jcnn.ops.arguments import Axes, Padding, floating, pool_geometry, spatial_size
from jcnn.ops.mesh import image, placed
from jcnn.ops.rule import custom_vjp

_, _scatter = adjoint_pair(lowering.gather, lowering.scatter)


def max_pool(
    x: ArrayLike, window: Axes, *, strides: Axes | None = None, padding: Padding = "VALID"
) -> jax.Array:
    r"""Take the largest element of each window.

    .. math:: a[m] = \max_{m'} z[s m + m']

    Args:
        x: Input, (N, *size, C), floating point.
        window: Size of a window; one integer or one a spatial axis.
        strides: Step between windows; the window itself if None.
        padding: As in :func:`jcnn.ops.correlate`; padding never wins. A window must hold at
            least one element of the input.

    Returns:
        (N, *output, C), of the same dtype.

    Raises:
        TypeError: ``x`` is not floating point.
        ValueError: The window doesn't fit, or padding alone fills one.

    Gradient:
        :math:`\partial L/\partial z` receives :math:`\delta[m]` at the arg max of each window
        [L "Back-Prop for Max Pooling"]; at a tie at the first element in row-major window order.
        Kept between the passes: which element won, one byte an output element (up to 254 elements
        a window), not the input.
        A window that holds NaN gives NaN; its gradient reaches one of its elements at most, which
        is not specified.

    >>> import jax.numpy as jnp
    >>> max_pool(jnp.array([1.0, 3.0, -2.0, -1.0]).reshape(1, 4, 1), 2).ravel()
    Array([ 3., -1.], dtype=float32)
    """
    (x,) = floating("max_pool", x=x)
    resolved = pool_geometry("max_pool", x, window, strides, padding)
    return placed(lambda x: _max_pool(resolved, None, x)[0], x, spec=image(x, x))


def relu_max_pool(
    x: ArrayLike, window: Axes, *, strides: Axes | None = None, padding: Padding = "VALID"
) -> jax.Array:
    r"""Take the largest rectified element of each window, in one operation.

    .. math:: a[m] = \max_{m'} \mathrm{ReLU}(z[s m + m'])

    Args:
        x: Excitations :math:`z`, (N, *size, C), floating point.
        window: See :func:`max_pool`.
        strides: See :func:`max_pool`.
        padding: See :func:`max_pool`.

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

        [L "Back-Prop for Max Pooling"]. ReLU'(0) = 0; at a tie the first element in row-major
        window order. Kept between the passes: one byte an output element (which element won, or
        none), in place of the whole rectified input.

    >>> import jax.numpy as jnp
    >>> relu_max_pool(jnp.array([1.0, 3.0, -2.0, -1.0]).reshape(1, 4, 1), 2).ravel()
    Array([3., 0.], dtype=float32)
    """
    (x,) = floating("relu_max_pool", x=x)
    resolved = pool_geometry("relu_max_pool", x, window, strides, padding)
    return placed(lambda x: _max_pool(resolved, 0.0, x)[0], x, spec=image(x, x))


@custom_vjp(statics=2)
def _max_pool(geometry: Geometry, floor: float | None, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the largest elements and which they were ("none" where not above ``floor``)."""
    return lowering.max_pool(geometry, x, floor)


def _max_pool_fwd(
    geometry: Geometry, floor: float | None, x: jax.Array
) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    y, winner = _max_pool(geometry, floor, x)
    return (y, winner), winner


def _max_pool_bwd(
    geometry: Geometry, floor: float | None, winner: jax.Array, dy: tuple[jax.Array, object]
) -> tuple[jax.Array]:
    return (_scatter(geometry, dy[0], winner),)


_max_pool.defvjp(_max_pool_fwd, _max_pool_bwd)


def global_max_pool(x: ArrayLike) -> jax.Array:
    r"""Take the largest element over all spatial axes: :math:`a = \max_n z[n]`.

    Args:
        x: Input, (N, *size, C), floating point.

    Returns:
        (N, C), of the same dtype.

    Raises:
        TypeError: ``x`` is not floating point.
        ValueError: ``x`` has no spatial axis.

    Gradient:
        :math:`\delta` goes to the arg max, at a tie to the first element in row-major order
        [L "Back-Prop for Max Pooling", "Written Example"]; where there is NaN, to the first of it.
        Kept between the passes: the winner's index, one integer a channel.

    >>> import jax.numpy as jnp
    >>> global_max_pool(jnp.array([1.0, 3.0, -2.0, -1.0]).reshape(1, 4, 1))
    Array([[3.]], dtype=float32)
    """
    (x,) = floating("global_max_pool", x=x)
    length = math.prod(spatial_size("global_max_pool", x))
    return _global_max(x.reshape(x.shape[0], length, x.shape[-1]))[0]


@jax.custom_vjp
def _global_max(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the largest of (N, L, C) along L, and where it (or NaN) first stands.

    An ``argmax`` compares pairs of value and index, which XLA's CPU backend neither vectorizes nor
    divides between cores: two reductions take a sixth of its time.
    """
    y = x.max(axis=1)
    reached = (x >= y[:, None]) | jnp.isnan(x)
    place = lax.broadcasted_iota(jnp.int32, x.shape, 1)
    beyond = jnp.int32(x.shape[1])
    return y, jnp.where(reached, place, beyond).min(axis=1)


def _pick(length: int, x: jax.Array, winner: jax.Array) -> jax.Array:
    return jnp.take_along_axis(x, winner[:, None], axis=1)[:, 0]


def _place(length: int, dy: jax.Array, winner: jax.Array) -> jax.Array:
    here = jnp.arange(length, dtype=winner.dtype)[:, None] == winner[:, None]
    return jnp.where(here, dy[:, None], jnp.zeros((), dy.dtype))


_, _spread_from_winner = adjoint_pair(_pick, _place)


def _global_max_fwd(
    x: jax.Array,
) -> tuple[tuple[jax.Array, jax.Array], tuple[int, jax.Array]]:
    y, winner = _global_max(x)
    return (y, winner), (x.shape[1], winner)


def _global_max_bwd(
    residuals: tuple[int, jax.Array], dy: tuple[jax.Array, object]
) -> tuple[jax.Array]:
    length, winner = residuals
    return (_spread_from_winner(length, dy[0], winner),)


_global_max.defvjp(_global_max_fwd, _global_max_bwd)
