"""Losses on plain JAX; see :mod:`jcnn.ops.losses`."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def _mean_of_example(a: jax.Array) -> jax.Array:
    return jnp.mean(a, axis=tuple(range(1, a.ndim)))


def mean_squared_error(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Average the squared errors of each example."""
    return _mean_of_example((prediction - target) ** 2)


def binary_cross_entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Cross entropy of a sigmoid output, from its logit."""
    positive, negative = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    return _mean_of_example(-target * positive - (1 - target) * negative)


def softmax_cross_entropy(
    logits: jax.Array, labels: jax.Array, *, label_smoothing: float = 0.0
) -> jax.Array:
    """Cross entropy of a softmax output, from its logits."""
    classes = logits.shape[-1]
    if jnp.issubdtype(labels.dtype, jnp.integer):
        labels = jax.nn.one_hot(labels, classes, dtype=logits.dtype)
    target = (1 - label_smoothing) * labels + label_smoothing / classes
    return -jnp.sum(target * jax.nn.log_softmax(logits, axis=-1), axis=-1)
