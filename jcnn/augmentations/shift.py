"""Shift by whole elements."""

from __future__ import annotations

from typing import Any, Literal

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

    def draw(self, key: Array, shape: Shape, dtype: Any) -> Array:
        """See :meth:`Augmentation.draw`; any number of spatial axes."""
        many = (len(shape) - 2, shape[0])
        return jax.random.randint(key, many, -self.pixels, self.pixels + 1).T

    def change(self, x: Array, draws: Array) -> Array:
        """See :meth:`Augmentation.change`."""
        for axis, offset in enumerate(draws.T, 1):
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
