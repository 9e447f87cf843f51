"""One training step, a pure function."""

from __future__ import annotations

import math
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jcnn import ops as explicit_ops
from jcnn.augmentations import augment
from jcnn.config import Experiment
from jcnn.training import keys
from jcnn.training.state import Totals, TrainState, Weights

# Apart from the keys of the layers, which are numbered from 0.
_PROBE = 2**31


class Step:
    """The step of an experiment, ``(state, x, y, key) -> (state, totals)``, and its first state.

    Attributes:
        ops: The operations that it goes through.
        steps_per_epoch: What an epoch stands for in the optimizer's schedules.
    """

    def __init__(
        self, experiment: Experiment, ops: ModuleType = explicit_ops, *, steps_per_epoch: int = 1
    ) -> None:
        """Build the optimizer.

        Args:
            experiment: Model, loss, optimizer, augmentation and precision.
            ops: :mod:`jcnn.ops`, or :mod:`jcnn.reference` for the same through ``jax.grad`` alone.
            steps_per_epoch: See above.
        """
        self.ops, self.steps_per_epoch = ops, steps_per_epoch
        self._experiment, self._model = experiment, experiment.model
        self._optimizer = experiment.optimizer.build(steps_per_epoch)

    def init(self, weights: Weights | None = None) -> TrainState:
        """Return the state before the first step; a pure function of ``weights`` and the seed.

        Args:
            weights: Parameters and running statistics to begin with; drawn where not given.
        """
        experiment = self._experiment
        if weights is None:
            weights = self._model.init(keys.init_key(experiment.seed), experiment.input_shape)
        averaged = experiment.training.average_decay is not None
        average = jax.tree.map(jnp.copy, weights) if averaged else None
        return TrainState(*weights, self._optimizer.init(weights[0]), average, jnp.int32(0))

    def __call__(self, state: TrainState, x: Array, y: Array, key: Array) -> tuple[Any, Totals]:
        """Return the next state, and the batch's sums before the parameters changed."""
        training = self._experiment.training
        augment_key, model_key = jax.random.split(key)
        x = augment(training.augment, augment_key, x).astype(jnp.dtype(training.precision))
        gradients, (running, totals) = jax.grad(self._mean_loss, has_aux=True)(
            state.params, state.state, x, y, model_key
        )
        probe_key = jax.random.fold_in(model_key, _PROBE)
        updates, opt_state = self._optimizer.update(
            gradients,
            state.opt_state,
            state.params,
            curvature=partial(self._curvature, state, x, model_key, probe_key),
        )
        params, step = optax.apply_updates(state.params, updates), state.step + 1
        average = state.average
        if training.average_decay is not None:
            average = _averaged(average, (params, running), training.average_decay, step)
        return TrainState(params, running, opt_state, average, step), totals

    def _mean_loss(self, params: Any, state: Any, x: Array, y: Array, key: Array) -> Any:
        loss = self._experiment.loss
        output, state = self._output(params, state, x, key)
        losses = loss.per_example(output, y, self.ops)
        correct = (loss.predict(output) == y).sum(dtype=jnp.int32)
        return losses.mean(), (state, Totals.of(losses.sum(), correct, jnp.int32(len(y))))

    def _output(self, params: Any, state: Any, x: Array, key: Array) -> tuple[Array, Any]:
        y, state = self._model.apply(params, state, x, training=True, key=key, ops=self.ops)
        return y.astype(jnp.float32), state

    def _curvature(self, state: TrainState, x: Array, model_key: Array, probe_key: Array) -> Any:
        """Estimate the Gauss-Newton diagonal of the mean loss: one backward pass of a probe."""
        output, pullback = jax.vjp(
            lambda params: self._output(params, state.state, x, model_key)[0], state.params
        )
        probe = self._experiment.loss.curvature_probe(output, probe_key)
        (projected,) = pullback(probe / math.sqrt(len(x)))
        return jax.tree.map(jnp.square, projected)


def checkpointed(step: Step) -> dict[str, Any]:
    """Return the shapes of what a checkpoint holds: the state, and the sums since an evaluation."""
    return {"state": jax.eval_shape(step.init), "totals": jax.eval_shape(Totals.zero)}


def _averaged(average: Any, new: Any, decay: float, step: Array) -> Any:
    """Take a step of the exponential moving average that weighs the initial weights with zero.

    Of the running mean m ← decay · m + (1 - decay) · new, begun at zero and divided by
    1 - decay^step, as Adam does with its moments, this is the same in one recurrence.
    """
    decay = jnp.float32(decay)
    share = (1 - decay) / (1 - decay ** step.astype(jnp.float32))
    return jax.tree.map(lambda a, b: a + share * (b - a), average, new)
