"""Binary cross entropy of sigmoid outputs."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax import Array

from jcnn.fields import Shape
from jcnn.losses.base import Loss


class BinaryCrossEntropy(Loss):
    """``binary_cross_entropy`` on logits: one per class, or a single one for two classes."""

    includes: ClassVar[str | None] = "sigmoid"

    name: Literal["binary_cross_entropy"] = "binary_cross_entropy"

    def check_output(self, output_shape: Shape, class_count: int) -> None:
        """See :meth:`Loss.check_output`."""
        if not (output_shape == (1,) and class_count == 2):
            super().check_output(output_shape, class_count)

    def unweighted(self, output: Array, labels: Array, ops: Any) -> Array:
        """See :meth:`Loss.unweighted`."""
        if output.shape[-1] == 1:
            target = labels[:, None].astype(output.dtype)
        else:
            classes = output.shape[-1]
            target = jax.nn.one_hot(labels.astype(jnp.int32), classes, dtype=output.dtype)
        return ops.binary_cross_entropy(output, target)

    def unweighted_probe(self, output: Array, key: Array) -> Array:
        """See :meth:`Loss.unweighted_probe`."""
        right = jax.nn.sigmoid(output)
        signs = jax.random.rademacher(key, output.shape, output.dtype)
        return jnp.sqrt(right * (1 - right) / output.shape[-1]) * signs

    def scores(self, output: Array) -> Array:
        """See :meth:`Loss.scores`; a single logit is that of the second class."""
        return jnp.concatenate([-output, output], axis=-1) if output.shape[-1] == 1 else output

    def probabilities(self, output: Array) -> Array:
        """See :meth:`Loss.probabilities`."""
        if output.shape[-1] == 1:
            right = jax.nn.sigmoid(output)
            return jnp.concatenate([1 - right, right], axis=-1)
        # The sigmoids over their sum, in logarithms: all of them may be too small for a number.
        return jax.nn.softmax(jax.nn.log_sigmoid(output), axis=-1)
