r"""Activations: :math:`z = f(a)`, :math:`\delta_a = \delta_z \, f'(a)` [T "Backprop Error"].

Where :math:`f'` can be told from the output, the output is kept between the passes and not the
input: the next layer keeps it anyway, so the activation itself costs no memory.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jcnn.ops.arguments import floating
from jcnn.ops.rule import custom_vjp


def sigmoid(x: ArrayLike) -> jax.Array:
    r"""Apply the logistic sigmoid: :math:`\sigma(a) = 1 / (1 + e^{-a})`.

    Args:
        x: Any shape, floating point.

    Returns:
        Same shape and dtype.

    Raises:
        TypeError: ``x`` is not floating point.

    Gradient:
        :math:`\delta \, z (1 - z)` for the output :math:`z`, which is what is kept.

    >>> sigmoid(jnp.array([0.0]))
    Array([0.5], dtype=float32)
    """
    return _sigmoid(*floating("sigmoid", x=x))


@jax.custom_vjp
def _sigmoid(x: jax.Array) -> jax.Array:
    return jax.lax.logistic(x)


def _sigmoid_fwd(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    y = _sigmoid(x)
    return y, y


def _sigmoid_bwd(y: jax.Array, dy: jax.Array) -> tuple[jax.Array]:
    return (dy * y * (1 - y),)


_sigmoid.defvjp(_sigmoid_fwd, _sigmoid_bwd)


def tanh(x: ArrayLike) -> jax.Array:
    r"""Apply the hyperbolic tangent.

    Args:
        x: Any shape, floating point.

    Returns:
        Same shape and dtype.

    Raises:
        TypeError: ``x`` is not floating point.

    Gradient:
        :math:`\delta (1 - z^2)` for the output :math:`z`, which is what is kept.

    >>> tanh(jnp.array([0.0]))
    Array([0.], dtype=float32)
    """
    return _scaled_tanh(1.0, 1.0, *floating("tanh", x=x))


def scaled_tanh(x: ArrayLike, *, amplitude: float = 1.7159, rate: float = 2 / 3) -> jax.Array:
    r"""Apply :math:`f(a) = A \tanh(S a)`, LeCun's squashing function.

    With the default numbers :math:`f(\pm 1) = \pm 1`: targets of ±1 lie inside its range, not at
    the asymptotes.

    Args:
        x: Any shape, floating point.
        amplitude: :math:`A`, positive.
        rate: :math:`S`, the slope at the origin over the amplitude.

    Returns:
        Same shape and dtype.

    Raises:
        TypeError: ``x`` is not floating point.
        ValueError: ``amplitude`` is not positive.

    Gradient:
        :math:`\delta \, S (A - z^2 / A)` for the output :math:`z`, which is what is kept.

    >>> scaled_tanh(jnp.array([1.0]), amplitude=2.0, rate=0.0)
    Array([0.], dtype=float32)
    """
    if not amplitude > 0:
        raise ValueError(f"scaled_tanh: amplitude must be positive, found {amplitude}")
    return _scaled_tanh(float(amplitude), float(rate), *floating("scaled_tanh", x=x))


@custom_vjp(statics=2)
def _scaled_tanh(amplitude: float, rate: float, x: jax.Array) -> jax.Array:
    return amplitude * jnp.tanh(rate * x)


def _scaled_tanh_fwd(amplitude: float, rate: float, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    y = _scaled_tanh(amplitude, rate, x)
    return y, y


def _scaled_tanh_bwd(
    amplitude: float, rate: float, y: jax.Array, dy: jax.Array
) -> tuple[jax.Array]:
    return (dy * (rate * (amplitude - y * y / amplitude)),)


_scaled_tanh.defvjp(_scaled_tanh_fwd, _scaled_tanh_bwd)


def softmax(x: ArrayLike) -> jax.Array:
    r"""Normalise exponentials along the last axis: :math:`z_j = e^{a_j} / \sum_k e^{a_k}`.

    Args:
        x: (..., K), floating point. Large values don't overflow.

    Returns:
        Same shape and dtype; rows add up to one.

    Raises:
        TypeError: ``x`` is not floating point.

    Gradient:
        :math:`\delta_{a} = z \, (\delta - \sum_k \delta_k z_k)`; the output is kept.

    >>> softmax(jnp.array([[0.0, 0.0]]))
    Array([[0.5, 0.5]], dtype=float32)
    """
    return _softmax(*floating("softmax", x=x))


@jax.custom_vjp
def _softmax(x: jax.Array) -> jax.Array:
    raised = jnp.exp(x - x.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def _softmax_fwd(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    y = _softmax(x)
    return y, y


def _softmax_bwd(y: jax.Array, dy: jax.Array) -> tuple[jax.Array]:
    return (y * (dy - (dy * y).sum(axis=-1, keepdims=True)),)


_softmax.defvjp(_softmax_fwd, _softmax_bwd)


def unit_step(x: ArrayLike) -> jax.Array:
    r"""Decide: 1 where :math:`a > 0`, else 0. The logistic sigmoid's hard form, for deployment.

    Args:
        x: Any shape, floating point.

    Returns:
        Same shape and dtype; 0 at 0.

    Raises:
        TypeError: ``x`` is not floating point.

    Gradient:
        Zero everywhere, by definition at the jump too. Nothing is kept.

    >>> unit_step(jnp.array([-2.0, 0.0, 2.0]))
    Array([0., 0., 1.], dtype=float32)
    """
    (x,) = floating("unit_step", x=x)
    return _flat(_positive, x)


def signum(x: ArrayLike) -> jax.Array:
    r"""Return the sign: 1, 0 or −1. The hyperbolic tangent's hard form, for deployment.

    Args:
        x: Any shape, floating point.

    Returns:
        Same shape and dtype; 0 at 0.

    Raises:
        TypeError: ``x`` is not floating point.

    Gradient:
        Zero everywhere, by definition at the jump too. Nothing is kept.

    >>> signum(jnp.array([-2.0, 0.0, 2.0]))
    Array([-1.,  0.,  1.], dtype=float32)
    """
    (x,) = floating("signum", x=x)
    return _flat(jnp.sign, x)


def _positive(x: jax.Array) -> jax.Array:
    return (x > 0).astype(x.dtype)


@custom_vjp(statics=1)
def _flat(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    return function(x)


_flat.defvjp(
    lambda function, x: (_flat(function, x), None),
    lambda function, residuals, dy: (jnp.zeros_like(dy),),
)
