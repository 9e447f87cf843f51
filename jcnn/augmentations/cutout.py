"""Cover a part of an image (DeVries and Taylor, 2017)."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array

from jcnn.augmentations.base import Augmentation
from jcnn.fields import Count, Real


class Cutout(Augmentation):
    """``cutout``: cover a square of ``size`` pixels with ``fill``, centred anywhere."""

    name: Literal["cutout"] = "cutout"
    size: Count
    fill: Real = 0.0

    def apply(self, key: Array, x: Array) -> Array:
        """See :meth:`Augmentation.apply`."""
        inside = jnp.ones((), jnp.bool_)
        for axis, axis_key in zip((1, 2), jax.random.split(key), strict=True):
            centre = jax.random.randint(axis_key, (len(x), 1), 0, x.shape[axis])
            first = centre - self.size // 2
            place = jnp.arange(x.shape[axis])[None]
            within = (place >= first) & (place < first + self.size)
            inside = inside & jnp.expand_dims(within, 3 - axis)
        return jnp.where(inside[..., None], jnp.full_like(x, self.fill), x)
