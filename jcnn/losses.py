"""Losses: what an experiment's ``[loss]`` says, and the output that each of them needs."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from pydantic import BaseModel, ConfigDict, Field

from jcnn.errors import UserError
from jcnn.layers.base import Fraction, PositiveReal, Real, Shape, by


class Loss(BaseModel):
    """The base of every loss over labelled classes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str

    def check_output(self, output_shape: Shape, class_count: int) -> None:
        """Refuse a model whose output is not one value a class."""
        if output_shape != (class_count,):
            raise UserError(
                f"the model's output is {by(output_shape)}, and the loss '{self.name}' over "
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


class SoftmaxCrossEntropy(Loss):
    """``softmax_cross_entropy`` on logits.

    Attributes:
        label_smoothing: Share of the target that is spread evenly over all classes.
        temperature: What the logits are divided by.
    """

    name: Literal["softmax_cross_entropy"] = "softmax_cross_entropy"
    label_smoothing: Fraction = 0.0
    temperature: PositiveReal = 1.0

    def per_example(self, output: Array, labels: Array, ops: Any) -> Array:
        """See :meth:`Loss.per_example`."""
        logits = output / self.temperature
        return ops.softmax_cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    def curvature_probe(self, output: Array, key: Array) -> Array:
        """See :meth:`Loss.curvature_probe`: softmax less a class that the softmax itself draws."""
        logits = output / self.temperature
        drawn = jax.nn.one_hot(jax.random.categorical(key, logits), output.shape[-1])
        return (jax.nn.softmax(logits) - drawn.astype(output.dtype)) / self.temperature

    def probabilities(self, output: Array) -> Array:
        """See :meth:`Loss.probabilities`."""
        return jax.nn.softmax(output / self.temperature, axis=-1)


class MeanSquaredError(Loss):
    """``mean_squared_error`` against one target value a class.

    Attributes:
        targets: The values for every other class and for the right one; [-1, 1] for tanh outputs.
    """

    name: Literal["mean_squared_error"] = "mean_squared_error"
    targets: tuple[Real, Real] = (0.0, 1.0)

    def per_example(self, output: Array, labels: Array, ops: Any) -> Array:
        """See :meth:`Loss.per_example`."""
        off, on = self.targets
        right = jax.nn.one_hot(labels, output.shape[-1], dtype=output.dtype)
        return ops.mean_squared_error(output, off + (on - off) * right)

    def curvature_probe(self, output: Array, key: Array) -> Array:
        """See :meth:`Loss.curvature_probe`."""
        return math.sqrt(2 / output.shape[-1]) * jax.random.rademacher(
            key, output.shape, output.dtype
        )

    def probabilities(self, output: Array) -> Array:
        """Outputs placed between their targets, cut at 0, and divided by their sum."""
        off, on = self.targets
        placed = jnp.maximum((output - off) / (on - off), 0)
        total = placed.sum(axis=-1, keepdims=True)
        even = jnp.full_like(placed, 1 / output.shape[-1])
        return jnp.where(total > 0, placed / jnp.where(total > 0, total, 1), even)


class BinaryCrossEntropy(Loss):
    """``binary_cross_entropy`` on logits: one a class, or a single one for two classes."""

    name: Literal["binary_cross_entropy"] = "binary_cross_entropy"

    def check_output(self, output_shape: Shape, class_count: int) -> None:
        """See :meth:`Loss.check_output`."""
        if not (output_shape == (1,) and class_count == 2):
            super().check_output(output_shape, class_count)

    def per_example(self, output: Array, labels: Array, ops: Any) -> Array:
        """See :meth:`Loss.per_example`."""
        if output.shape[-1] == 1:
            target = labels[:, None].astype(output.dtype)
        else:
            target = jax.nn.one_hot(labels, output.shape[-1], dtype=output.dtype)
        return ops.binary_cross_entropy(output, target)

    def curvature_probe(self, output: Array, key: Array) -> Array:
        """See :meth:`Loss.curvature_probe`."""
        right = jax.nn.sigmoid(output)
        signs = jax.random.rademacher(key, output.shape, output.dtype)
        return jnp.sqrt(right * (1 - right) / output.shape[-1]) * signs

    def predict(self, output: Array) -> Array:
        """See :meth:`Loss.predict`."""
        if output.shape[-1] == 1:
            return (output[:, 0] > 0).astype(jnp.int32)
        return super().predict(output)

    def probabilities(self, output: Array) -> Array:
        """See :meth:`Loss.probabilities`."""
        right = jax.nn.sigmoid(output)
        if output.shape[-1] == 1:
            return jnp.concatenate([1 - right, right], axis=-1)
        return right / right.sum(axis=-1, keepdims=True)


AnyLoss = Annotated[
    SoftmaxCrossEntropy | MeanSquaredError | BinaryCrossEntropy, Field(discriminator="name")
]
