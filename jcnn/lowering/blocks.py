"""A function of a batch, computed a few images at a time so that what it builds stays in cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax

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
    y = lax.map(f, x[:whole].reshape(-1, size, *x.shape[1:]))
    y = jax.tree.map(lambda a: lax.collapse(a, 0, 2), y)
    if whole == batch:
        return y
    return jax.tree.map(lambda a, rest: jnp.concatenate([a, rest]), y, f(x[whole:]))


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
    start = jnp.zeros(shape, arrays[0].dtype) if whole == batch else f(*left_over)
    return lax.scan(lambda total, block: (total + f(*block), None), start, blocks)[0]
