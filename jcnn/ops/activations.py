r"""Activations: :math:`z = f(a)`, :math:`\delta_a = \delta_z \, f'(a)` [T "Backprop Error"].

Where :math:`f'` can be told from the output, the output is kept between the passes and not the
input: the next layer keeps it anyway, so the activation itself costs no memory.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jcnn.lowering.once import on_cpu_once
from jcnn.ops.arguments import floating, naming, number
from jcnn.ops.rule import nothing, output, rule
from jcnn.precision import in_float32


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


@rule(keeps=output)
@in_float32
def _sigmoid(x: jax.Array) -> jax.Array:
    return jax.lax.logistic(x)


@_sigmoid.pullback
@in_float32
def _(z: jax.Array, dy: jax.Array) -> jax.Array:
    return dy * z * (1 - z)  # σ' = σ (1 − σ) [L]


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
    return _tanh(*floating("tanh", x=x))


@rule(keeps=output)
@in_float32
def _tanh(x: jax.Array) -> jax.Array:
    return jnp.tanh(x)


@_tanh.pullback
@in_float32
def _(z: jax.Array, dy: jax.Array) -> jax.Array:
    return dy * (1 - z * z)  # tanh' = 1 − tanh² [L]


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
        TypeError: ``x`` is not floating point, or an option is traced.
        ValueError: ``amplitude`` is not positive.

    Gradient:
        :math:`\delta \, S (A - z^2 / A)` for the output :math:`z`, which is what is kept.

    >>> scaled_tanh(jnp.array([1.0]), amplitude=2.0, rate=0.0)
    Array([0.], dtype=float32)
    """
    op = "scaled_tanh"
    amplitude, rate = number(op, "amplitude", amplitude), number(op, "rate", rate)
    if not amplitude > 0:
        raise ValueError(f"{op}: amplitude must be positive, found {amplitude}")
    return _scaled_tanh(amplitude, rate, *floating(op, x=x))


@rule(keeps=output, statics=2)
@in_float32
def _scaled_tanh(amplitude: float, rate: float, x: jax.Array) -> jax.Array:
    # XLA would keep tanh(S a) beside the output, which the gradient is to be read from.
    return on_cpu_once(lambda z: z, amplitude * jnp.tanh(rate * x))


@_scaled_tanh.pullback
@in_float32
def _(amplitude: float, rate: float, z: jax.Array, dy: jax.Array) -> jax.Array:
    # S (A − z²/A), without a division for each element: nothing where |z| is A.
    return dy * (rate / amplitude * (amplitude - z) * (amplitude + z))


def softmax(x: ArrayLike) -> jax.Array:
    r"""Normalise exponentials along the last axis: :math:`z_j = e^{a_j} / \sum_k e^{a_k}`.

    Args:
        x: (..., K), floating point; without a class, nothing. Large values don't overflow; a
            class of −inf gets nothing.

    Returns:
        Same shape and dtype; rows add up to one.

    Raises:
        TypeError: ``x`` is not floating point.
        ValueError: ``x`` has no axis.

    Gradient:
        :math:`\delta_{a} = z \, (\delta - \sum_k \delta_k z_k)`; the output is kept.

    >>> softmax(jnp.array([[0.0, 0.0]]))
    Array([[0.5, 0.5]], dtype=float32)
    """
    (x,) = floating("softmax", x=x)
    with naming("softmax"):
        if not x.ndim:
            raise ValueError("x must have an axis of classes (..., K), found a single number")
    return _softmax(x) if x.shape[-1] else x


@rule(keeps=output)
@in_float32
def _softmax(x: jax.Array) -> jax.Array:
    raised = jnp.exp(x - x.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


@_softmax.pullback
@in_float32
def _(z: jax.Array, dy: jax.Array) -> jax.Array:
    return z * (dy - (dy * z).sum(axis=-1, keepdims=True))


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
    return jnp.where(x > 0, jnp.ones_like(x), jnp.zeros_like(x))


@rule(keeps=nothing, statics=1)
def _flat(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    return function(x)


@_flat.pullback
def _(function: Callable[[jax.Array], jax.Array], dy: jax.Array) -> jax.Array:
    return jnp.zeros_like(dy)
