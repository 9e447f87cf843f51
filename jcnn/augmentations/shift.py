"""Shift by whole elements."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array

from jcnn.augmentations.base import Augmentation
from jcnn.errors import UserError
from jcnn.fields import Count, Real, Shape


class Shift(Augmentation):
    """``shift``: move by up to ± ``pixels`` elements along each spatial axis.

    What enters at the edges is ``fill``: a value, or with ``"mirror"`` the image mirrored at its
    outermost elements, which are not repeated (``numpy.pad`` calls it ``reflect``).
    """

    name: Literal["shift"] = "shift"
    pixels: Count
    fill: Real | Literal["mirror"] = 0.0

    def check_input(self, input_shape: Shape) -> None:
        """Take signals as well as images, of more elements than they are mirrored by."""
        smallest = min(input_shape[:-1], default=0)
        if self.fill == "mirror" and self.pixels >= smallest:
            raise UserError(
                f"training.augment: 'shift' with fill = \"mirror\" has pixels {self.pixels}: "
                f"expected fewer than the {smallest} elements of the shortest axis of {input_shape}"
            )

    def draw(self, key: Array, shape: Shape, dtype: Any) -> Array:
        """See :meth:`Augmentation.draw`; any number of spatial axes."""
        many = (len(shape) - 2, shape[0])
        return jax.random.randint(key, many, -self.pixels, self.pixels + 1).T

    def change(self, x: Array, draws: Array) -> Array:
        """See :meth:`Augmentation.change`."""
        for axis, offset in enumerate(draws.T, 1):
            x = _moved(x, offset, axis, self.fill)
        return x


def _moved(x: Array, offset: Array, axis: int, fill: float | Literal["mirror"]) -> Array:
    """Move example n by offset[n] along an axis."""
    last = x.shape[axis] - 1
    source = jnp.arange(last + 1)[None] - offset[:, None]
    broad = [slice(None)] + [None] * (x.ndim - 1)
    broad[axis] = slice(None)
    if fill == "mirror":
        index = last - jnp.abs(last - jnp.abs(source))
        return jnp.take_along_axis(x, index[tuple(broad)], axis)
    index = jnp.clip(source, 0, last)
    inside = (source == index)[tuple(broad)]
    moved = jnp.take_along_axis(x, index[tuple(broad)], axis)
    return jnp.where(inside, moved, jnp.full_like(x, fill))
