"""Mean squared error against target values of the classes."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from jcnn.fields import Real
from jcnn.losses.base import Loss


def _differ(targets: tuple[float, float]) -> tuple[float, float]:
    if targets[0] == targets[1]:
        raise PydanticCustomError("targets", "expected two values that differ")
    return targets


class MeanSquaredError(Loss):
    """``mean_squared_error`` against one target value per class.

    Attributes:
        targets: The values for every other class and for the right one; [-1, 1] for tanh outputs.
    """

    name: Literal["mean_squared_error"] = "mean_squared_error"
    targets: Annotated[tuple[Real, Real], AfterValidator(_differ)] = (0.0, 1.0)

    def unweighted(self, output: Array, labels: Array, ops: Any) -> Array:
        """See :meth:`Loss.unweighted`."""
        off, on = self.targets
        right = jax.nn.one_hot(labels.astype(jnp.int32), output.shape[-1], dtype=output.dtype)
        return ops.mean_squared_error(output, off + (on - off) * right)

    def unweighted_probe(self, output: Array, key: Array) -> Array:
        """See :meth:`Loss.unweighted_probe`."""
        return math.sqrt(2 / output.shape[-1]) * jax.random.rademacher(
            key, output.shape, output.dtype
        )

    def scores(self, output: Array) -> Array:
        """See :meth:`Loss.scores`."""
        off, on = self.targets
        return output if on > off else -output

    def probabilities(self, output: Array) -> Array:
        """Outputs scaled between their targets, cut at 0, and divided by their sum.

        Where none is above 0, the smallest is taken from them instead.
        """
        off, on = self.targets
        scaled = (output - off) / (on - off)
        above = (scaled > 0).any(axis=-1, keepdims=True)
        least = jnp.where(above, 0, scaled.min(axis=-1, keepdims=True))
        parts = jnp.maximum(scaled - least, 0)
        total = parts.sum(axis=-1, keepdims=True)
        even = jnp.full_like(parts, 1 / output.shape[-1])
        return jnp.where(total > 0, parts / jnp.where(total > 0, total, 1), even)
