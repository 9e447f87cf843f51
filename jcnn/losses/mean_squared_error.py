"""Mean squared error against target values of the classes."""

from __future__ import annotations

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array

from jcnn.fields import Real
from jcnn.losses.base import Loss


class MeanSquaredError(Loss):
    """``mean_squared_error`` against one target value per class.

    Attributes:
        targets: The values for every other class and for the right one; [-1, 1] for tanh outputs.
    """

    name: Literal["mean_squared_error"] = "mean_squared_error"
    targets: tuple[Real, Real] = (0.0, 1.0)

    def unweighted(self, output: Array, labels: Array, ops: Any) -> Array:
        """See :meth:`Loss.unweighted`."""
        off, on = self.targets
        right = jax.nn.one_hot(labels.astype(jnp.int32), output.shape[-1], dtype=output.dtype)
        return ops.mean_squared_error(output, off + (on - off) * right)

    def curvature_probe(self, output: Array, key: Array) -> Array:
        """See :meth:`Loss.curvature_probe`."""
        return math.sqrt(2 / output.shape[-1]) * jax.random.rademacher(
            key, output.shape, output.dtype
        )

    def probabilities(self, output: Array) -> Array:
        """Outputs scaled between their targets, cut at 0, and divided by their sum."""
        off, on = self.targets
        scaled = jnp.maximum((output - off) / (on - off), 0)
        total = scaled.sum(axis=-1, keepdims=True)
        even = jnp.full_like(scaled, 1 / output.shape[-1])
        return jnp.where(total > 0, scaled / jnp.where(total > 0, total, 1), even)
