r"""Losses, one an example [L "Error Metrics Summarized"].

Cross entropies take logits: with the sigmoid or softmax inside, their gradient is the plain
difference of prediction and target, without the vanishing factor of the squashing function, and
nothing overflows.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jcnn.ops.arguments import floating, varying_together
from jcnn.ops.rule import arguments, rule


def mean_squared_error(prediction: ArrayLike, target: ArrayLike) -> jax.Array:
    r"""Average the squared errors of each example.

    .. math:: l = \frac{1}{K} \sum_k (g_k - y_k)^2

    Args:
        prediction: :math:`g`, (N, ...), floating point; K is the number of elements an example.
        target: :math:`y`, of the same shape and dtype.

    Returns:
        (N,), of the same dtype.

    Raises:
        TypeError: An array is not floating point, or dtypes differ.
        ValueError: Shapes differ, or there is no batch axis.

    Gradient:
        :math:`\partial l/\partial g_k = \frac{2}{K} (g_k - y_k)`, the negative of it for the
        target. Kept between the passes: the error :math:`g - y`.

    >>> mean_squared_error(jnp.array([[1.0, 3.0]]), jnp.array([[1.0, 1.0]]))
    Array([2.], dtype=float32)
    """
    prediction, target = floating("mean_squared_error", prediction=prediction, target=target)
    _same_shape("mean_squared_error", "prediction", prediction, target)
    return _mean_squared_error(prediction, target)


@rule(keeps=lambda loss, prediction, target: (prediction - target,))
def _mean_squared_error(prediction: jax.Array, target: jax.Array) -> jax.Array:
    return _mean_of_example(jnp.square(prediction - target))


@_mean_squared_error.pullback
def _(error: jax.Array, dl: jax.Array) -> tuple[jax.Array, jax.Array]:
    dg = _per_example(dl, error) * (2 / _elements(error)) * error
    return dg, -dg


def binary_cross_entropy(logits: ArrayLike, target: ArrayLike) -> jax.Array:
    r"""Cross entropy of a sigmoid output, from its logit; averaged over the outputs of an example.

    .. math:: l = \frac{1}{K} \sum_k -y_k \ln \sigma(a_k) - (1 - y_k) \ln (1 - \sigma(a_k))

    Args:
        logits: :math:`a`, (N, ...), floating point; K is the number of elements an example.
        target: :math:`y` in [0, 1], of the same shape and dtype.

    Returns:
        (N,), of the same dtype. Finite for every finite logit.

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
def _binary_cross_entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
    # ln(1 + e^a) - y a, written so that the exponential is never of a positive number, and summed
    # so that for y = 1 a large a cancels exactly
    linear = jnp.maximum(logits, 0) - target * logits
    return _mean_of_example(linear + jnp.log1p(jnp.exp(-jnp.abs(logits))))


@_binary_cross_entropy.pullback
def _(logits: jax.Array, target: jax.Array, dl: jax.Array) -> tuple[jax.Array, jax.Array]:
    share = _per_example(dl, logits) / _elements(logits)
    return share * (jax.lax.logistic(logits) - target), -share * logits


def softmax_cross_entropy(
    logits: ArrayLike, labels: ArrayLike, *, label_smoothing: float = 0.0
) -> jax.Array:
    r"""Cross entropy of a softmax output, from its logits.

    .. math:: l = -\sum_k p_k \ln \mathrm{softmax}(a)_k \qquad p = (1 - \epsilon) y + \epsilon / K

    Args:
        logits: :math:`a`, (N, K), floating point.
        labels: Classes as integers from 0 to K − 1, (N,), or distributions :math:`y`, (N, K), of
            the logits' dtype. An integer that is no class counts as an all-zero distribution.
        label_smoothing: :math:`\epsilon`, from 0 to 1.

    Returns:
        (N,), of the logits' dtype. Finite where the differences of an example's logits are.

    Raises:
        TypeError: ``logits`` is not floating point, or the labels' dtype is neither an integer
            type nor the logits'.
        ValueError: Shapes don't fit, or ``label_smoothing`` is outside [0, 1].

    Gradient:
        :math:`\partial l/\partial a = \mathrm{softmax}(a) \sum_k p_k - p`; for distributions
        :math:`\partial l/\partial y = -(1 - \epsilon) \ln \mathrm{softmax}(a)`. Kept between the
        passes: both arguments.

    >>> softmax_cross_entropy(jnp.array([[0.0, 0.0], [1e4, 0.0]]), jnp.array([0, 0]))
    Array([0.6931472, 0.       ], dtype=float32)
    """
    op = "softmax_cross_entropy"
    (logits,) = floating(op, logits=logits)
    labels = jnp.asarray(labels)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{op}: label_smoothing must be in [0, 1], found {label_smoothing}")
    if logits.ndim != 2 or not logits.shape[1]:
        raise ValueError(f"{op}: logits must be (N, K) with K >= 1, found {logits.shape}")
    whole = jnp.issubdtype(labels.dtype, jnp.integer)
    if not whole:
        floating(op, logits=logits, labels=labels)
    expected = logits.shape[:1] if whole else logits.shape
    if labels.shape != expected:
        raise ValueError(
            f"{op}: labels of dtype {labels.dtype} must be {expected} for logits {logits.shape}, "
            f"found {labels.shape}"
        )
    return _softmax_cross_entropy(float(label_smoothing), *varying_together(logits, labels))


@rule(keeps=arguments, statics=1)
def _softmax_cross_entropy(smoothing: float, logits: jax.Array, labels: jax.Array) -> jax.Array:
    return (_target(smoothing, logits, labels) * -_log_softmax(logits)).sum(axis=-1)


@_softmax_cross_entropy.pullback
def _(
    smoothing: float, logits: jax.Array, labels: jax.Array, dl: jax.Array
) -> tuple[jax.Array, jax.Array | None]:
    target = _target(smoothing, logits, labels)
    log_softmax = _log_softmax(logits)
    total = target.sum(axis=-1, keepdims=True)
    da = dl[:, None] * (jnp.exp(log_softmax) * total - target)
    if labels.ndim == 1:
        return da, None
    return da, dl[:, None] * -(1 - smoothing) * log_softmax


def _target(smoothing: float, logits: jax.Array, labels: jax.Array) -> jax.Array:
    classes = logits.shape[-1]
    if labels.ndim == 1:
        labels = jax.nn.one_hot(labels, classes, dtype=logits.dtype)
    return (1 - smoothing) * labels + smoothing / classes if smoothing else labels


def _log_softmax(logits: jax.Array) -> jax.Array:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - jnp.log(jnp.exp(shifted).sum(axis=-1, keepdims=True))


def _elements(a: jax.Array) -> int:
    return math.prod(a.shape[1:])


def _per_example(dl: jax.Array, like: jax.Array) -> jax.Array:
    return jnp.expand_dims(dl, tuple(range(1, like.ndim)))


def _mean_of_example(a: jax.Array) -> jax.Array:
    return a.mean(axis=tuple(range(1, a.ndim))) if a.ndim > 1 else a


def _same_shape(op: str, name: str, a: jax.Array, target: jax.Array) -> None:
    if a.shape != target.shape or a.ndim < 1:
        raise ValueError(
            f"{op}: {name} and target must share a shape (N, ...), "
            f"found {a.shape} and {target.shape}"
        )
