"""Shift by whole elements."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array

from jcnn.augmentations.base import Augmentation
from jcnn.fields import Count, Real, Shape


class Shift(Augmentation):
    """``shift``: move by up to ± ``pixels`` elements along each spatial axis; ``fill`` enters."""

    name: Literal["shift"] = "shift"
    pixels: Count
    fill: Real = 0.0

    def check_input(self, input_shape: Shape) -> None:
        """Take signals as well as images."""

    def apply(self, key: Array, x: Array) -> Array:
        """See :meth:`Augmentation.apply`; any number of spatial axes."""
        shape = (x.ndim - 2, len(x))
        offsets = jax.random.randint(key, shape, -self.pixels, self.pixels + 1)
        for axis, offset in enumerate(offsets, 1):
            x = _moved(x, offset, axis, self.fill)
        return x


def _moved(x: Array, offset: Array, axis: int, fill: float) -> Array:
    """Move example n by offset[n] along an axis."""
    source = jnp.arange(x.shape[axis])[None] - offset[:, None]
    index = jnp.clip(source, 0, x.shape[axis] - 1)
    broad = [slice(None)] + [None] * (x.ndim - 1)
    broad[axis] = slice(None)
    inside = (source == index)[tuple(broad)]
    moved = jnp.take_along_axis(x, index[tuple(broad)], axis)
    return jnp.where(inside, moved, jnp.full_like(x, fill))
