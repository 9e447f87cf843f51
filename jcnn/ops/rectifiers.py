r"""Rectifiers: :math:`z = a` where :math:`a > 0`, else a multiple of it [T "Backprop Error"].

As with the other activations the output is kept between the passes where it tells the gradient.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jcnn.ops.arguments import floating, number
from jcnn.ops.rule import arguments, output, rule
from jcnn.precision import in_float32


def relu(x: ArrayLike) -> jax.Array:
    r"""Rectify: :math:`f(a) = \max(a, 0)`.

    Args:
        x: Any shape, floating point.

    Returns:
        Same shape and dtype.

    Raises:
        TypeError: ``x`` is not floating point.

    Gradient:
        :math:`\delta` where :math:`a > 0`, else 0; ReLU'(0) = 0. Kept between the passes: the
        output.

    >>> relu(jnp.array([-1.0, 0.0, 2.0]))
    Array([0., 0., 2.], dtype=float32)
    """
    return _relu(*floating("relu", x=x))


@rule(keeps=output)
def _relu(x: jax.Array) -> jax.Array:
    return jnp.maximum(x, 0)


@_relu.pullback
def _(y: jax.Array, dy: jax.Array) -> jax.Array:
    return jnp.where(y > 0, dy, 0)


def leaky_relu(x: ArrayLike, slope: float = 0.01) -> jax.Array:
    r"""Rectify with a leak: :math:`f(a) = a` where :math:`a > 0`, else :math:`s a`.

    Args:
        x: Any shape, floating point.
        slope: :math:`s`, a fixed number, not negative (else the output doesn't tell the input's
            sign).

    Returns:
        Same shape and dtype.

    Raises:
        TypeError: ``x`` is not floating point, or ``slope`` is traced (:func:`prelu` takes arrays).
        ValueError: ``slope`` is negative.

    Gradient:
        :math:`\delta` where :math:`a > 0`, else :math:`s \delta`; at 0 the leak's side,
        :math:`s`. Kept between the passes: the output.

    >>> leaky_relu(jnp.array([-1.0, 0.0, 2.0]), 0.5)
    Array([-0.5,  0. ,  2. ], dtype=float32)
    """
    slope = number("leaky_relu", "slope", slope)
    if not slope >= 0:
        raise ValueError(f"leaky_relu: slope must not be negative, found {slope}")
    return _leaky_relu(slope, *floating("leaky_relu", x=x))


@rule(keeps=output, statics=1)
@in_float32
def _leaky_relu(slope: float, x: jax.Array) -> jax.Array:
    return jnp.where(x > 0, x, slope * x)


@_leaky_relu.pullback
@in_float32
def _(slope: float, y: jax.Array, dy: jax.Array) -> jax.Array:
    return jnp.where(y > 0, dy, slope * dy)


def prelu(x: ArrayLike, slope: ArrayLike) -> jax.Array:
    r"""Rectify with a learned leak: :math:`f(a) = a` where :math:`a > 0`, else :math:`s a`.

    Args:
        x: (..., C), floating point.
        slope: :math:`s`, learned; (C,), or () for one slope shared by all channels.

    Returns:
        Same shape and dtype as ``x``.

    Raises:
        TypeError: An array is not floating point, or dtypes differ.
        ValueError: ``slope`` is neither (C,) nor ().

    Gradient:
        :math:`\delta` where :math:`a > 0`, else :math:`s \delta` (at 0 the leak's side);
        :math:`\partial L/\partial s = \sum_{a \le 0} \delta a` over what shares a slope. Kept
        between the passes: ``x`` and ``slope``.

    >>> prelu(jnp.array([[-1.0, -1.0]]), jnp.array([0.5, 0.25]))
    Array([[-0.5 , -0.25]], dtype=float32)
    """
    x, slope = floating("prelu", x=x, slope=slope)
    if slope.shape not in {(), x.shape[-1:]}:
        raise ValueError(f"prelu: slope must be () or {x.shape[-1:]}, found {slope.shape}")
    return _prelu(x, slope)


@rule(keeps=arguments)
@in_float32
def _prelu(x: jax.Array, slope: jax.Array) -> jax.Array:
    return jnp.where(x > 0, x, _leaking(slope, x))


@_prelu.pullback
@in_float32
def _(x: jax.Array, slope: jax.Array, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    dx = jnp.where(x > 0, dy, _leaking(slope, dy))
    leaked = jnp.where(x > 0, 0, dy * x)
    return dx, leaked.sum(axis=tuple(range(x.ndim - slope.ndim)))


def _leaking(slope: jax.Array, a: jax.Array) -> jax.Array:
    return (lax.broadcast_to_rank(slope, a.ndim) if slope.ndim else slope) * a
