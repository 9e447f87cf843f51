"""Normalisations and dropout on plain JAX; see :mod:`jcnn.ops.normalization` and ``dropout``."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jcnn.axes import known
from jcnn.precision import in_float32, widened
from jcnn.reference.arrays import of_arrays


@of_arrays
def batch_norm(
    x: jax.Array,
    scale: jax.Array,
    offset: jax.Array,
    *,
    epsilon: float = 1e-5,
    axis_name: str | tuple[str, ...] = (),
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalise each channel by the batch's own mean and variance."""
    axes, wide = tuple(range(x.ndim - 1)), widened(x)
    if 0 in x.shape:
        mean = variance = jnp.zeros(x.shape[-1:], wide.dtype)
    else:
        # From the first value on, so that what all values share takes no digits.
        pivot = lax.stop_gradient(wide[(0,) * len(axes)])
        pivot = lax.pmean(pivot, axis_name) if axis_name else pivot
        mean = jnp.mean(wide - _channels(pivot, x), axis=axes)
        mean = lax.pmean(mean, axis_name) if axis_name else mean
        centred = wide - _channels(pivot, x) - _channels(mean, x)
        wide, variance = centred, jnp.mean(centred**2, axis=axes)
        variance = lax.pmean(variance, axis_name) if axis_name else variance
        mean = pivot + mean
    y = _normalized(wide, scale, offset, variance, epsilon)
    return y.astype(x.dtype), mean, variance


@of_arrays
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
    centred = widened(x) - _channels(mean, x)
    return _normalized(centred, scale, offset, variance, epsilon).astype(x.dtype)


def _normalized(
    centred: jax.Array,
    scale: jax.Array,
    offset: jax.Array,
    variance: jax.Array,
    epsilon: float,
) -> jax.Array:
    root = _channels(jnp.sqrt(widened(variance) + epsilon), centred)
    return centred / root * _channels(scale, centred) + _channels(offset, centred)


def _channels(a: jax.Array, x: jax.Array) -> jax.Array:
    return lax.broadcast_to_rank(widened(a), x.ndim)


@of_arrays
@in_float32
def local_response_norm(
    x: jax.Array,
    *,
    size: int = 5,
    offset: float = 2.0,
    scale: float = 1e-4,
    power: float = 0.75,
) -> jax.Array:
    """Divide each activation by those of neighbouring channels at the same place."""
    last, channels = x.ndim - 1, x.shape[-1]
    before, after = (size - 1) // 2, size // 2
    if known(channels):  # further is nothing
        before, after = min(before, channels), min(after, channels)
    sums = lax.reduce_window(
        x * x,
        x.dtype.type(0),
        lax.add,
        (1,) * last + (before + 1 + after,),
        (1,) * x.ndim,
        [(0, 0)] * last + [(before, after)],
    )
    return x / (offset + scale * sums) ** power


@of_arrays
@in_float32
def dropout(
    x: jax.Array, key: jax.Array, drop_rate: float, *, spec: tuple[Any, ...] = ()
) -> jax.Array:
    """Set a random share of the elements to zero and scale the others up."""
    names = [*spec, *(None,) * (x.ndim - len(spec))]
    sizes = [n * lax.axis_size(name) if name else n for n, name in zip(x.shape, names, strict=True)]
    if sizes:
        keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(sizes[0]))
        kept = jax.vmap(lambda one: jax.random.bernoulli(one, 1 - drop_rate, sizes[1:]))(keys)
    else:
        kept = jax.random.bernoulli(key, 1 - drop_rate)
    for k, name in enumerate(spec):
        if name:
            n = x.shape[k]
            kept = lax.dynamic_slice_in_dim(kept, lax.axis_index(name) * n, n, axis=k)
    return jnp.where(kept, x, jnp.zeros_like(x)) / (1 - drop_rate)
