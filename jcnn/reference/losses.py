"""Losses on plain JAX; see :mod:`jcnn.ops.losses` and ``classification``."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jcnn.precision import in_float32
from jcnn.reference.arrays import of_arrays


def _mean_of_example(a: jax.Array) -> jax.Array:
    if 0 in a.shape[1:]:
        return jnp.zeros(a.shape[:1], a.dtype)
    return jnp.mean(a, axis=tuple(range(1, a.ndim)))


@of_arrays
@in_float32
def mean_squared_error(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Average the squared errors of each example."""
    return _mean_of_example((prediction - target) ** 2)


@of_arrays
@in_float32
def binary_cross_entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Cross entropy of a sigmoid output, from its logit."""
    positive, negative = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    return _mean_of_example(-target * positive - (1 - target) * negative)


@of_arrays
@in_float32
def softmax_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    *,
    axis: int = -1,
    where: jax.Array | None = None,
    label_smoothing: float = 0.0,
) -> jax.Array:
    """Cross entropy of a softmax output, from its logits."""
    logits = jnp.moveaxis(logits, axis, -1)
    classes = logits.shape[-1]
    counted = jnp.ones(logits.shape[:-1], bool) if where is None else jnp.asarray(where)
    if jnp.issubdtype(labels.dtype, jnp.integer):
        labels = labels if labels.dtype.itemsize >= 4 else labels.astype(jnp.int32)
        within = (labels >= 0) & (labels < classes)
        counted = counted & within
        index = jnp.where(within, labels, 0).astype(jnp.int32)
        labels = jax.nn.one_hot(index, classes, dtype=logits.dtype)
    else:
        labels = jnp.where(counted[..., None], jnp.moveaxis(labels, axis, -1), 0)
    logits = jnp.where(counted[..., None], logits, 0)
    seen = logits > -jnp.inf
    even = jnp.where(seen, 1 / jnp.sum(seen, axis=-1, keepdims=True, dtype=logits.dtype), 0)
    target = (1 - label_smoothing) * labels + label_smoothing * even
    of_target = jnp.where(seen | (target != 0), jax.nn.log_softmax(logits, axis=-1), 0)
    return jnp.where(counted, -jnp.sum(target * of_target, axis=-1), 0)
