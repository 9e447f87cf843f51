"""Cross entropy of a softmax over the outputs."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import jax
from jax import Array

from jcnn.fields import Fraction, PositiveReal
from jcnn.losses.base import Loss


class SoftmaxCrossEntropy(Loss):
    """``softmax_cross_entropy`` on logits.

    Attributes:
        label_smoothing: Share of the target that is spread evenly over all classes.
        temperature: What the logits are divided by.
    """

    includes: ClassVar[str | None] = "softmax"

    name: Literal["softmax_cross_entropy"] = "softmax_cross_entropy"
    label_smoothing: Fraction = 0.0
    temperature: PositiveReal = 1.0

    def unweighted(self, output: Array, labels: Array, ops: Any) -> Array:
        """See :meth:`Loss.unweighted`."""
        logits = output / self.temperature
        return ops.softmax_cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    def unweighted_probe(self, output: Array, key: Array) -> Array:
        """See :meth:`Loss.unweighted_probe`: softmax less a class that the softmax itself draws."""
        logits = output / self.temperature
        drawn = jax.nn.one_hot(jax.random.categorical(key, logits), output.shape[-1])
        return (jax.nn.softmax(logits) - drawn.astype(output.dtype)) / self.temperature

    def probabilities(self, output: Array) -> Array:
        """See :meth:`Loss.probabilities`."""
        return jax.nn.softmax(output / self.temperature, axis=-1)
