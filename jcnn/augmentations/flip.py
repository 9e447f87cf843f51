"""Mirror images."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from pydantic import Field

from jcnn.augmentations.base import Augmentation
from jcnn.fields import Real, Shape


class Flip(Augmentation):
    """``flip``: mirror left and right, with a probability."""

    name: Literal["flip"] = "flip"
    probability: Annotated[Real, Field(ge=0, le=1)] = 0.5

    def draw(self, key: Array, shape: Shape, dtype: Any) -> Array:
        """See :meth:`Augmentation.draw`."""
        return jax.random.bernoulli(key, self.probability, (shape[0], 1, 1, 1))

    def change(self, x: Array, draws: Array) -> Array:
        """See :meth:`Augmentation.change`."""
        return jnp.where(draws, x[:, :, ::-1], x)
