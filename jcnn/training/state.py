"""What training changes from step to step: one pytree, and the sums its metrics come from."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
from jax import Array

from jcnn.training.average import Average
from jcnn.training.loss_scale import LossScale

# The parameters, and the running statistics that belong to them.
Weights: TypeAlias = tuple[Any, Any]


class TrainState(NamedTuple):
    """Everything that the next step depends on, apart from the data and the seed.

    Attributes:
        params: The model's parameters, float32.
        state: The model's running statistics.
        opt_state: Optax's state.
        average: Running average of both, or None where none is kept.
        step: Steps done, int32.
        loss_scale: What the loss is scaled by in float16, or None in other precisions.
    """

    params: Any
    state: Any
    opt_state: Any
    average: Average | None
    step: Array
    loss_scale: LossScale | None = None

    @property
    def evaluated(self) -> Weights:
        """What to evaluate and to predict with: the average where one is kept."""
        return (self if self.average is None else self.average)[:2]


class Totals(NamedTuple):
    """Sums over examples; the metrics are their quotients.

    Attributes:
        loss: Sum of the losses, float32.
        lost: What rounding took from that sum, float32: over a long epoch of small batches the sum
            alone would stop growing.
        correct: How many were classified rightly, int32.
        examples: How many there are, int32.
        skipped: Steps whose loss or gradients were not finite, int32; the other sums are without.
    """

    loss: Array
    lost: Array
    correct: Array
    examples: Array
    skipped: Array

    @classmethod
    def of(cls, loss: Array, correct: Array, examples: Array) -> Totals:
        """Return the sums over a batch."""
        return cls(loss, jnp.zeros((), jnp.float32), correct, examples, jnp.int32(0))

    @classmethod
    def zero(cls) -> Totals:
        """Return sums over no example."""
        return cls.of(jnp.zeros((), jnp.float32), jnp.int32(0), jnp.int32(0))

    @classmethod
    def of_skipped(cls) -> Totals:
        """Return the sums of one step that was skipped."""
        return cls.zero()._replace(skipped=jnp.int32(1))

    def plus(self, other: Totals) -> Totals:
        """Add sums, and keep what rounding takes (Knuth's exact sum of two floats)."""
        loss = self.loss + other.loss
        theirs = loss - self.loss
        lost = (self.loss - (loss - theirs)) + (other.loss - theirs)
        return Totals(
            loss,
            self.lost + other.lost + lost,
            self.correct + other.correct,
            self.examples + other.examples,
            self.skipped + other.skipped,
        )

    def means(self) -> dict[str, float]:
        """Wait for the sums and return mean loss and accuracy; of no example, NaN."""
        loss, lost, correct, examples, _ = (value.item() for value in self)
        loss = loss + lost if math.isfinite(loss) else loss
        if not examples:
            return {"loss": math.nan, "accuracy": math.nan}
        return {"loss": loss / examples, "accuracy": correct / examples}
