"""What training changes from step to step: one pytree, and the sums its metrics come from."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jcnn.config import Experiment
from jcnn.training import keys


class TrainState(NamedTuple):
    """Everything that the next step depends on, apart from the data and the seed.

    Attributes:
        params: The model's parameters, float32.
        state: The model's running statistics.
        opt_state: Optax's state.
        average: Exponential moving average of ``params``, or None where none is kept.
        step: Steps done, int32.
    """

    params: Any
    state: Any
    opt_state: Any
    average: Any
    step: Array

    @property
    def best_params(self) -> Any:
        """The parameters to evaluate and to predict with: the average where one is kept."""
        return self.params if self.average is None else self.average


class Totals(NamedTuple):
    """Sums over examples; the metrics are their quotients."""

    loss: Array
    correct: Array
    examples: Array

    @classmethod
    def zero(cls) -> Totals:
        """Return sums over no example."""
        return cls(jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))

    def means(self) -> dict[str, float]:
        """Wait for the sums and return mean loss and accuracy, as Python floats."""
        loss, correct, examples = (value.item() for value in self)
        return {"loss": loss / max(examples, 1), "accuracy": correct / max(examples, 1)}


def init_state(
    experiment: Experiment, weights: tuple[Any, Any] | None = None, *, steps_per_epoch: int
) -> TrainState:
    """Return the state before the first step; a pure function of its arguments.

    Args:
        experiment: What to train.
        weights: Parameters and running statistics to begin with; drawn where not given.
        steps_per_epoch: What a schedule's epochs stand for.
    """
    if weights is None:
        key = keys.init_key(experiment.seed)
        weights = experiment.model.init(key, experiment.input_shape)
    params, state = weights
    optimizer = experiment.optimizer.build(steps_per_epoch)
    averaged = experiment.training.average_decay is not None
    average = jax.tree.map(jnp.copy, params) if averaged else None
    return TrainState(params, state, optimizer.init(params), average, jnp.int32(0))
