"""Mirror images."""

from __future__ import annotations

from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from jax import Array
from pydantic import Field

from jcnn.augmentations.base import Augmentation
from jcnn.fields import Real


class Flip(Augmentation):
    """``flip``: mirror left and right, with a probability."""

    name: Literal["flip"] = "flip"
    probability: Annotated[Real, Field(ge=0, le=1)] = 0.5

    def apply(self, key: Array, x: Array) -> Array:
        """See :meth:`Augmentation.apply`."""
        mirrored = jax.random.bernoulli(key, self.probability, (len(x), 1, 1, 1))
        return jnp.where(mirrored, x[:, :, ::-1], x)
