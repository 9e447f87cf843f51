"""Activations on plain JAX; see :mod:`jcnn.ops` for what each computes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from jcnn.precision import in_float32
from jcnn.reference.arrays import of_arrays


@of_arrays
def relu(x: jax.Array) -> jax.Array:
    """Rectify."""
    return jax.nn.relu(x)


@of_arrays
@in_float32
def leaky_relu(x: jax.Array, slope: float = 0.01) -> jax.Array:
    """Rectify with a leak; at 0 on the leak's side."""
    return jnp.where(x > 0, x, slope * x)


@of_arrays
@in_float32
def prelu(x: jax.Array, slope: jax.Array) -> jax.Array:
    """Rectify with a learned leak."""
    return jnp.where(x > 0, x, lax.broadcast_to_rank(slope, x.ndim) * x)


@of_arrays
@in_float32
def sigmoid(x: jax.Array) -> jax.Array:
    """Apply the logistic sigmoid."""
    return jax.nn.sigmoid(x)


@of_arrays
@in_float32
def tanh(x: jax.Array) -> jax.Array:
    """Apply the hyperbolic tangent."""
    return jnp.tanh(x)


@of_arrays
@in_float32
def scaled_tanh(x: jax.Array, *, amplitude: float = 1.7159, rate: float = 2 / 3) -> jax.Array:
    """Apply ``amplitude * tanh(rate * x)``."""
    return amplitude * jnp.tanh(rate * x)


@of_arrays
@in_float32
def gelu(x: jax.Array) -> jax.Array:
    """Apply the exact Gaussian error linear unit."""
    # Zero times an infinity is NaN, in Φ(−∞) as in the density at ∞.
    limits = jnp.finfo(x.dtype)
    within = jnp.clip(x, limits.min, limits.max)
    return jnp.where(x == jnp.inf, x, jax.nn.gelu(within, approximate=False))


@of_arrays
@in_float32
def softmax(x: jax.Array) -> jax.Array:
    """Normalise exponentials along the last axis."""
    if not x.ndim:
        raise ValueError("softmax: x must have an axis of classes (..., K), found a single number")
    return jax.nn.softmax(x, axis=-1) if x.shape[-1] else x


@of_arrays
def unit_step(x: jax.Array) -> jax.Array:
    """Return 1 where positive, else 0."""
    return jnp.where(x > 0, jnp.ones_like(x), jnp.zeros_like(x))


@of_arrays
def signum(x: jax.Array) -> jax.Array:
    """Return the sign."""
    return jnp.sign(x)
