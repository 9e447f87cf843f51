"""What every loss is: the output that it needs, its value per example, its second derivative."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jcnn.errors import UserError
from jcnn.fields import Shape, Table, dims


class Loss(Table):
    """The base of every loss over labelled classes."""

    name: str

    def check_output(self, output_shape: Shape, class_count: int) -> None:
        """Refuse a model whose output is not one value per class."""
        if output_shape != (class_count,):
            raise UserError(
                f"the model's output is {dims(output_shape)}, and the loss '{self.name}' over "
                f"{class_count} classes needs {class_count}"
            )

    def per_example(self, output: Array, labels: Array, ops: Any) -> Array:
        """Loss of each example, shape ``(N,)``, from outputs ``(N, K)`` and integer labels."""
        raise NotImplementedError

    def curvature_probe(self, output: Array, key: Array) -> Array:
        """Random vectors v, shape ``(N, K)``: E[v vᵀ] is the second derivative of each loss."""
        raise NotImplementedError

    def predict(self, output: Array) -> Array:
        """Class of each example, int32."""
        return jnp.argmax(output, axis=-1).astype(jnp.int32)

    def probabilities(self, output: Array) -> Array:
        """Share of each class, shape ``(N, K)``; rows sum to 1."""
        return jax.nn.softmax(output, axis=-1)
