"""Loss scaling, without which the small gradients of float16 are zero (Micikevicius et al., 2018).

float16 has no number between 0 and 6e-8, where many gradients lie. The loss is multiplied by a
power of two before the backward pass and the gradients are divided by it after, in float32: exact,
both.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

FIRST = 2.0**15
LARGEST = 2.0**24
# Steps without an overflow after which twice the scale is tried.
PATIENCE = 2000


class LossScale(NamedTuple):
    """What the loss is multiplied by: as much as the gradients' range bears.

    Attributes:
        value: A power of two, float32.
        steps: Steps since it changed, int32.
    """

    value: Array
    steps: Array

    @classmethod
    def first(cls) -> LossScale:
        """Begin with a scale that many networks bear; others lower it within a few steps."""
        return cls(jnp.float32(FIRST), jnp.int32(0))

    def can_be_smaller(self) -> Array:
        """Whether an overflow may be the scale's fault."""
        return self.value > 1

    def after(self, fits: Array) -> LossScale:
        """Half as large where a gradient overflowed, twice after ``PATIENCE`` steps without.

        Args:
            fits: Whether all gradients of this step are finite.
        """
        steps = self.steps + 1
        enough = steps >= PATIENCE
        grown = jnp.where(enough, jnp.minimum(2 * self.value, LARGEST), self.value)
        shrunk = jnp.maximum(self.value / 2, 1)
        return LossScale(
            jnp.where(fits, grown, shrunk), jnp.where(fits & ~enough, steps, jnp.int32(0))
        )

    def up(self, loss: Array) -> Array:
        """Scale a loss, or what stands in its place."""
        return loss * self.value

    def down(self, gradients: object) -> object:
        """Take the scale out of gradients again."""
        return jax.tree.map(lambda gradient: gradient / self.value, gradients)
