"""What every loss is: the output that it needs, its value per example, its second derivative."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array
from pydantic import Field

from jcnn.axes import times
from jcnn.errors import UserError
from jcnn.fields import NonNegativeReal, Shape, Table


class Loss(Table):
    """The base of every loss over labelled classes.

    Attributes:
        class_weights: What the loss of an example is multiplied by, by its class, in the order of
            the classes' numbers; 1 where not given. Means are taken over examples all the same.
    """

    # The layer that the loss itself holds: behind a model's last one it would count twice.
    includes: ClassVar[str | None] = None

    name: str
    class_weights: Annotated[tuple[NonNegativeReal, ...], Field(min_length=1)] | None = None

    def check_classes(self, class_count: int) -> None:
        """Refuse weights that are not one per class."""
        if self.class_weights is not None and len(self.class_weights) != class_count:
            raise UserError(
                f"loss.class_weights has {len(self.class_weights)} weights: expected {class_count},"
                " one per class"
            )

    def check_output(self, output_shape: Shape, class_count: int) -> None:
        """Refuse a model whose output is not one value per class."""
        if output_shape != (class_count,):
            raise UserError(
                f"the model's output is {times(output_shape)}, and the loss '{self.name}' over "
                f"{class_count} classes needs {class_count}"
            )

    def per_example(self, output: Array, labels: Array, ops: Any) -> Array:
        """Loss of each example, shape ``(N,)``, from outputs ``(N, K)`` and integer labels."""
        losses = self.unweighted(output, labels, ops)
        if self.class_weights is None:
            return losses
        return losses * jnp.asarray(self.class_weights, losses.dtype)[labels]

    def unweighted(self, output: Array, labels: Array, ops: Any) -> Array:
        """Loss of each example without the weights of the classes."""
        raise NotImplementedError

    def curvature_probe(self, output: Array, labels: Array, key: Array) -> Array:
        """Random vectors v, shape ``(N, K)``: E[v vᵀ] is the second derivative of each loss."""
        probe = self.unweighted_probe(output, key)
        if self.class_weights is None:
            return probe
        return probe * jnp.sqrt(jnp.asarray(self.class_weights, probe.dtype))[labels][:, None]

    def unweighted_probe(self, output: Array, key: Array) -> Array:
        """Such vectors of losses without weights; labels are not in their second derivative."""
        raise NotImplementedError

    def scores(self, output: Array) -> Array:
        """A number per class, shape ``(N, K)``: the larger, the better the class fits."""
        return output

    def predict(self, output: Array) -> Array:
        """Class of each example, int32: that of the largest score."""
        return jnp.argmax(self.scores(output), axis=-1).astype(jnp.int32)

    def probabilities(self, output: Array) -> Array:
        """Share of each class, shape ``(N, K)``; rows sum to 1."""
        return jax.nn.softmax(output, axis=-1)
