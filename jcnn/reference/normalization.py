"""Normalisations and dropout on plain JAX; see :mod:`jcnn.ops.normalization` and ``dropout``."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax


def batch_norm(
    x: jax.Array, scale: jax.Array, offset: jax.Array, *, epsilon: float = 1e-5
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalise each channel by the batch's own mean and variance."""
    axes = tuple(range(x.ndim - 1))
    mean, variance = jnp.mean(x, axis=axes), jnp.var(x, axis=axes)
    y = batch_norm_inference(x, scale, offset, mean, variance, epsilon=epsilon)
    return y, mean, variance


def batch_norm_inference(
    x: jax.Array,
    scale: jax.Array,
    offset: jax.Array,
    mean: jax.Array,
    variance: jax.Array,
    *,
    epsilon: float = 1e-5,
) -> jax.Array:
    """Normalise each channel by a given mean and variance."""
    return (x - mean) / jnp.sqrt(variance + epsilon) * scale + offset


def local_response_norm(
    x: jax.Array,
    *,
    size: int = 5,
    offset: float = 2.0,
    scale: float = 1e-4,
    power: float = 0.75,
) -> jax.Array:
    """Divide each activation by those of neighbouring channels at the same place."""
    last = x.ndim - 1
    sums = lax.reduce_window(
        x * x,
        x.dtype.type(0),
        lax.add,
        (1,) * last + (size,),
        (1,) * x.ndim,
        [(0, 0)] * last + [((size - 1) // 2, size // 2)],
    )
    return x / (offset + scale * sums) ** power


def dropout(x: jax.Array, key: jax.Array, drop_rate: float) -> jax.Array:
    """Set a random share of the elements to zero and scale the others up."""
    kept = jax.random.bernoulli(key, 1 - drop_rate, x.shape)
    return jnp.where(kept, x, jnp.zeros_like(x)) / (1 - drop_rate)
