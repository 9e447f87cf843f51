"""Random changes of training images, on the device: pure functions of a key and a batch.

Arrays have the shape (N, height, width, channels); ``shift`` takes any number of spatial axes.
``fill`` is what moves in from outside, or what covers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

Augmentation = Callable[[Array, Array], Array]


def make_augmentation(configs: Sequence[Any]) -> Augmentation:
    """Return the changes of ``configs``, one after the other, as one function ``(key, x) -> x``."""

    def augment(key: Array, x: Array) -> Array:
        for index, config in enumerate(configs):
            arguments = config.model_dump(exclude={"name"})
            x = AUGMENTATIONS[config.name](jax.random.fold_in(key, index), x, **arguments)
        return x

    return augment


def shift(key: Array, x: Array, *, pixels: int, fill: float = 0.0) -> Array:
    """Move each example by -pixels … +pixels whole elements along every spatial axis.

    >>> x = jnp.ones((1, 4, 4, 1))
    >>> shift(jax.random.key(0), x, pixels=1).shape
    (1, 4, 4, 1)
    """
    offsets = jax.random.randint(key, (x.ndim - 2, len(x)), -pixels, pixels + 1)
    for axis, offset in enumerate(offsets, 1):
        x = _moved(x, offset, axis, fill)
    return x


def flip(key: Array, x: Array, *, probability: float = 0.5) -> Array:
    """Mirror each image left to right with the given probability."""
    mirrored = jax.random.bernoulli(key, probability, (len(x), 1, 1, 1))
    return jnp.where(mirrored, x[:, :, ::-1], x)


def cutout(key: Array, x: Array, *, size: int, fill: float = 0.0) -> Array:
    """Cover a square of ``size`` pixels, its centre anywhere in the image [DeVries 2017]."""
    inside = jnp.ones((), jnp.bool_)
    for axis, axis_key in zip((1, 2), jax.random.split(key), strict=True):
        centre = jax.random.randint(axis_key, (len(x), 1), 0, x.shape[axis])
        first = centre - size // 2
        place = jnp.arange(x.shape[axis])[None]
        within = (place >= first) & (place < first + size)
        inside = inside & jnp.expand_dims(within, 3 - axis)
    return jnp.where(inside[..., None], jnp.full_like(x, fill), x)


def affine(
    key: Array,
    x: Array,
    *,
    degrees: float = 0.0,
    pixels: float = 0.0,
    scale: float = 0.0,
    fill: float = 0.0,
) -> Array:
    """Turn each image by up to ±degrees, move it by up to ±pixels, scale it by up to 1 ± scale.

    The image is resampled bilinearly about its centre.
    """
    draws = jax.random.uniform(key, (4, len(x)), jnp.float32, -1.0, 1.0)
    angle, factor = draws[0] * jnp.deg2rad(degrees), 1 + draws[1] * scale
    rows, columns = (jnp.arange(size, dtype=jnp.float32) - (size - 1) / 2 for size in x.shape[1:3])
    cosine, sine = (f(angle)[:, None, None] / factor[:, None, None] for f in (jnp.cos, jnp.sin))
    down = rows[None, :, None] + pixels * draws[2][:, None, None]
    right = columns[None, None, :] + pixels * draws[3][:, None, None]
    source_rows = cosine * down - sine * right + (x.shape[1] - 1) / 2
    source_columns = sine * down + cosine * right + (x.shape[2] - 1) / 2
    return jax.vmap(partial(_resampled, fill=fill))(x, source_rows, source_columns)


def _moved(x: Array, offset: Array, axis: int, fill: float) -> Array:
    """Move image n by offset[n] along an axis."""
    source = jnp.arange(x.shape[axis])[None] - offset[:, None]
    index = jnp.clip(source, 0, x.shape[axis] - 1)
    broad = [slice(None)] + [None] * (x.ndim - 1)
    broad[axis] = slice(None)
    inside = (source == index)[tuple(broad)]
    moved = jnp.take_along_axis(x, index[tuple(broad)], axis)
    return jnp.where(inside, moved, jnp.full_like(x, fill))


def _resampled(image: Array, rows: Array, columns: Array, *, fill: float) -> Array:
    """Read one image at fractional places, bilinearly."""
    top, left = jnp.floor(rows), jnp.floor(columns)
    result = jnp.zeros((*rows.shape, image.shape[-1]), image.dtype)
    for below in (0, 1):
        for beside in (0, 1):
            row, column = top + below, left + beside
            weight = (1 - jnp.abs(rows - row)) * (1 - jnp.abs(columns - column))
            value = image.at[row.astype(jnp.int32), column.astype(jnp.int32)].get(
                mode="fill", fill_value=fill, wrap_negative_indices=False
            )
            result = result + value * weight[..., None].astype(image.dtype)
    return result


AUGMENTATIONS: dict[str, Callable[..., Array]] = {
    "shift": shift,
    "flip": flip,
    "cutout": cutout,
    "affine": affine,
}
