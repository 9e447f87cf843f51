"""Mirror images."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from pydantic import Field, model_validator

from jcnn.augmentations.base import Augmentation
from jcnn.fields import Flag, Real, Shape


class Flip(Augmentation):
    """``flip``: mirror left and right, with a probability, or in every other epoch.

    Attributes:
        probability: Of each example in each batch.
        alternate: Whether an example is seen in both ways by turns, so that two epochs show both of
            all [K. Jordan, 2024]. Which way first is drawn from its values, so it is by chance
            alone where these are not the same in every epoch.
    """

    name: Literal["flip"] = "flip"
    probability: Annotated[Real, Field(ge=0, le=1)] = 0.5
    alternate: Flag = False

    @model_validator(mode="after")
    def _check_turns(self) -> Flip:
        if self.alternate and self.probability != 0.5:
            raise ValueError(
                "alternate mirrors in every other epoch: "
                f"expected no probability beside it, found {self.probability:g}"
            )
        return self

    def draw(self, key: Array, shape: Shape, dtype: Any) -> Array:
        """See :meth:`Augmentation.draw`."""
        return jax.random.bernoulli(key, self.probability, (shape[0], 1, 1, 1))

    def settle(self, draws: Array, marks: Array, epoch: int | Array) -> Array:
        """See :meth:`Augmentation.settle`."""
        if not self.alternate:
            return draws
        return ((marks + jnp.uint32(epoch)) % 2 == 1).reshape(draws.shape)

    def change(self, x: Array, draws: Array) -> Array:
        """See :meth:`Augmentation.change`."""
        return jnp.where(draws, x[:, :, ::-1], x)
