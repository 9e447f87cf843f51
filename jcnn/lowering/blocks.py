"""A function of a batch, computed a few images at a time so that what it builds stays in cache."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from jcnn.lowering.order import true_after
from jcnn.lowering.policy import Policy

Result = TypeVar("Result")


def block_bytes(share: float) -> int:
    """What a block may take: a share of the largest cache of the policy's machine."""
    return int(share * Policy.current().on.cache_bytes)


def block_size(batch: int, image_bytes: int, block_bytes: int) -> int:
    """Images a block: as many as fit, or up to half of that where whole blocks then do.

    What is left over would be compiled as a program of its own.
    """
    most = max(1, block_bytes // max(image_bytes, 1))
    if most >= batch:
        return batch
    divisor = max(n for n in range(1, most + 1) if batch % n == 0)
    return divisor if 2 * divisor > most else -(-batch // -(-batch // most))


def map_blocks(f: Callable[[jax.Array], Result], size: int, x: jax.Array) -> Result:
    """f(x), for an f that treats each image alone."""
    batch = x.shape[0]
    if size >= batch:
        return f(x)
    whole = batch - batch % size
    f = jax.jit(f, inline=True)  # traced once for all blocks and for the shapes of what it makes
    made = jax.eval_shape(f, jax.ShapeDtypeStruct((size, *x.shape[1:]), x.dtype))
    start = jax.tree.map(lambda a: _to_fill(x, (batch, *a.shape[1:]), a.dtype), made)

    def put(y: Result, first: jax.Array | int, many: int) -> Result:
        done = f(lax.dynamic_slice_in_dim(x, first, many))
        return jax.tree.map(
            partial(lax.dynamic_update_slice_in_dim, start_index=first, axis=0), y, done
        )

    y = lax.fori_loop(0, whole // size, lambda i, y: put(y, i * size, size), start)
    return y if whole == batch else put(y, whole, batch - whole)


def _to_fill(x: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
    """An array of zeros of its own, that is not there before x is.

    XLA's CPU backend would make one array of all zeros of a shape, when the first loop starts, and
    keep it until the last: a copy of it for each.
    """
    first = lax.squeeze(lax.slice(x, (0,) * x.ndim, (1,) * x.ndim), range(x.ndim))
    zero, one = (lax.full((), n, dtype) for n in (0, 1))
    return lax.broadcast(lax.select(true_after(first), zero, one), shape)


def sum_blocks(
    f: Callable[..., jax.Array], size: int, shape: tuple[int, ...], *arrays: jax.Array
) -> jax.Array:
    """f(*arrays), of the given shape, for an f that sums over the images."""
    batch = arrays[0].shape[0]
    if size >= batch:
        return f(*arrays)
    whole = batch - batch % size
    blocks = tuple(a[:whole].reshape(-1, size, *a.shape[1:]) for a in arrays)
    left_over = (a[whole:] for a in arrays)
    start = _to_fill(arrays[-1], shape, arrays[0].dtype) if whole == batch else f(*left_over)
    return lax.scan(lambda total, block: (total + f(*block), None), start, blocks)[0]
