"""Cover a part of an image (DeVries and Taylor, 2017)."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array

from jcnn.augmentations.base import Augmentation
from jcnn.fields import Count, Real, Shape


class Cutout(Augmentation):
    """``cutout``: cover a square of ``size`` pixels with ``fill``, centred anywhere."""

    name: Literal["cutout"] = "cutout"
    size: Count
    fill: Real = 0.0

    def draw(self, key: Array, shape: Shape, dtype: Any) -> list[Array]:
        """See :meth:`Augmentation.draw`."""
        keys = zip(shape[1:3], jax.random.split(key), strict=True)
        return [jax.random.randint(own, (shape[0], 1), 0, length) for length, own in keys]

    def change(self, x: Array, draws: list[Array]) -> Array:
        """See :meth:`Augmentation.change`."""
        inside = jnp.ones((), jnp.bool_)
        for axis, centre in enumerate(draws, 1):
            first = centre - self.size // 2
            place = jnp.arange(x.shape[axis])[None]
            within = (place >= first) & (place < first + self.size)
            inside = inside & jnp.expand_dims(within, 3 - axis)
        return jnp.where(inside[..., None], jnp.full_like(x, self.fill), x)
