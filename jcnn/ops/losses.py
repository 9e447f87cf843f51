r"""Losses of real numbers, one per example [L "Error Metrics Summarized"].

The cross entropy takes logits: with the sigmoid inside, its gradient is the plain difference of
prediction and target, without the vanishing factor of the squashing function, and nothing
overflows. That of classes is in :mod:`jcnn.ops.classification`.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jcnn.ops.arguments import floating
from jcnn.ops.rule import arguments, rule
from jcnn.precision import in_float32, widened


def mean_squared_error(prediction: ArrayLike, target: ArrayLike) -> jax.Array:
    r"""Average the squared errors of each example.

    .. math:: l = \frac{1}{K} \sum_k (g_k - y_k)^2

    Args:
        prediction: :math:`g`, (N, ...), floating point; K is the number of elements of an
            example. Without any, the loss is zero.
        target: :math:`y`, of the same shape and dtype.

    Returns:
        (N,), of the same dtype.

    Raises:
        TypeError: An array is not floating point, or dtypes differ.
        ValueError: Shapes differ, or there is no batch axis.

    Gradient:
        :math:`\partial l/\partial g_k = \frac{2}{K} (g_k - y_k)`, the negative of it for the
        target. Kept between the passes: the error :math:`g - y`, in float32 where the
        arguments are of half precision.

    >>> mean_squared_error(jnp.array([[1.0, 3.0]]), jnp.array([[1.0, 1.0]]))
    Array([2.], dtype=float32)
    """
    prediction, target = floating("mean_squared_error", prediction=prediction, target=target)
    _same_shape("mean_squared_error", "prediction", prediction, target)
    return _mean_squared_error(prediction, target)


@rule(keeps=lambda loss, prediction, target: (widened(prediction) - widened(target),))
@in_float32
def _mean_squared_error(prediction: jax.Array, target: jax.Array) -> jax.Array:
    return _mean_of_example(jnp.square(prediction - target))


@_mean_squared_error.pullback
@in_float32
def _(error: jax.Array, dl: jax.Array) -> tuple[jax.Array, jax.Array]:
    dg = _per_example(dl, error) * (2 / _elements(error)) * error
    return dg, -dg


def binary_cross_entropy(logits: ArrayLike, target: ArrayLike) -> jax.Array:
    r"""Cross entropy of a sigmoid output, from its logit; averaged over the outputs of an example.

    .. math:: l = \frac{1}{K} \sum_k -y_k \ln \sigma(a_k) - (1 - y_k) \ln (1 - \sigma(a_k))

    Args:
        logits: :math:`a`, (N, ...), floating point; K is the number of elements of an example.
        target: :math:`y` in [0, 1], of the same shape and dtype.

    Returns:
        (N,), of the same dtype. Finite for every finite logit, as long as the sum
        over an example is.

    Raises:
        TypeError: An array is not floating point, or dtypes differ.
        ValueError: Shapes differ, or there is no batch axis.

    Gradient:
        :math:`\partial l/\partial a_k = \frac{1}{K} (\sigma(a_k) - y_k)`,
        :math:`\partial l/\partial y_k = -\frac{1}{K} a_k`. Kept between the passes: both arguments.

    >>> binary_cross_entropy(jnp.array([0.0, 1e4]), jnp.array([1.0, 1.0]))
    Array([0.6931472, 0.       ], dtype=float32)
    """
    logits, target = floating("binary_cross_entropy", logits=logits, target=target)
    _same_shape("binary_cross_entropy", "logits", logits, target)
    return _binary_cross_entropy(logits, target)


@rule(keeps=arguments)
@in_float32
def _binary_cross_entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
    # ln(1 + e^a) - y a, written so that the exponential is never of a positive number, and summed
    # so that for y = 1 a large a cancels exactly
    linear = jnp.maximum(logits, 0) - target * logits
    return _mean_of_example(linear + jnp.log1p(jnp.exp(-jnp.abs(logits))))


@_binary_cross_entropy.pullback
@in_float32
def _(logits: jax.Array, target: jax.Array, dl: jax.Array) -> tuple[jax.Array, jax.Array]:
    share = _per_example(dl, logits) / _elements(logits)
    return share * (jax.lax.logistic(logits) - target), -share * logits


def _elements(a: jax.Array) -> int:
    return math.prod(a.shape[1:]) or 1


def _per_example(dl: jax.Array, like: jax.Array) -> jax.Array:
    return jnp.expand_dims(dl, tuple(range(1, like.ndim)))


def _mean_of_example(a: jax.Array) -> jax.Array:
    return a.sum(axis=tuple(range(1, a.ndim))) / _elements(a) if a.ndim > 1 else a


def _same_shape(op: str, name: str, a: jax.Array, target: jax.Array) -> None:
    if a.shape != target.shape or a.ndim < 1:
        raise ValueError(
            f"{op}: {name} and target must share a shape (N, ...), "
            f"found {a.shape} and {target.shape}"
        )
