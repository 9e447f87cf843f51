"""Values that XLA is to compute in the order in which they are written."""

from __future__ import annotations

import jax
from jax import lax

from jcnn.axes import known


def true_after(x: jax.Array) -> jax.Array:
    """True for each element, which XLA does not know before it has computed x."""
    return (x == x) | (x != x)


def on_cpu_after(first: jax.Array, x: jax.Array, w: jax.Array) -> jax.Array:
    """x; on a CPU, what is computed from it waits for ``first``, which read the larger array w.

    An array that is updated in place is copied as a whole first, unless XLA sees that its new value
    comes after all that reads the old one: that the one is computed from the other. So here x is
    taken where :func:`true_after` holds of ``first``, of its shape: everywhere. (XLA's CPU backend
    has dropped optimization barriers when it looks.)
    """
    if not known(*x.shape, *w.shape) or x.size >= w.size:
        return x

    def ordered(first: jax.Array, x: jax.Array) -> jax.Array:
        return lax.select(true_after(first), x, lax.full_like(x, 0))

    return lax.platform_dependent(first, x, cpu=ordered, default=lambda first, x: x)


def computed_anew(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    """The arrays; what a backward pass computes from them, the forward pass's results are not.

    XLA finds where the same was computed before, and keeps it in place of what a rule keeps. On a
    TPU it does not, and a barrier only parts loops that would be one: AlexNet's step on four v5e
    moved 9.9 GB with it, and 9.3 without, in the same memory.
    """

    def behind(*arrays: jax.Array) -> tuple[jax.Array, ...]:
        return lax.optimization_barrier(arrays)

    return lax.platform_dependent(*arrays, tpu=lambda *arrays: arrays, default=behind)
