"""One training step, a pure function."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jcnn import ops as explicit_ops
from jcnn.augmentations import augment
from jcnn.config import Experiment
from jcnn.errors import UserError
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
        self._frozen = experiment.frozen
        self._optimizer = experiment.optimizer.build(
            steps_per_epoch, experiment.training.accumulate_batches
        )

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
            value=totals.loss / totals.examples.astype(jnp.float32),
        )
        params, step = optax.apply_updates(state.params, updates), state.step + 1
        params, running = self._keep(state.params, params), self._keep(state.state, running)
        average = state.average
        if training.average_decay is not None:
            average = _averaged(average, (params, running), training.average_decay, step)
        return TrainState(params, running, opt_state, average, step), totals

    def gradients(self, state: TrainState, x: Array, y: Array, key: Array) -> Any:
        """Return the gradients of the mean loss, without augmentation, for someone to look at."""
        x = x.astype(jnp.dtype(self._experiment.training.precision))
        return jax.grad(self._mean_loss, has_aux=True)(state.params, state.state, x, y, key)[0]

    def _keep(self, before: Any, after: Any) -> Any:
        """Take frozen layers' values from before: their bits, whatever 0 times an update is."""
        return {name: before[name] if name in self._frozen else after[name] for name in after}

    def _mean_loss(self, params: Any, state: Any, x: Array, y: Array, key: Array) -> Any:
        loss = self._experiment.loss
        output, state = self._output(params, state, x, key)
        losses = loss.per_example(output, y, self.ops)
        correct = (loss.predict(output) == y).sum(dtype=jnp.int32)
        return losses.mean(), (state, Totals.of(losses.sum(), correct, jnp.int32(len(y))))

    def _output(self, params: Any, state: Any, x: Array, key: Array) -> tuple[Array, Any]:
        how = {"training": True, "key": key, "ops": self.ops, "frozen": self._frozen}
        y, state = self._model.apply(params, state, x, **how)
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


def checked(tree: Any, like: Any, place: Path) -> Any:
    """Return what was restored, if it has the shapes that the experiment's model has.

    Raises:
        UserError: It has others: the experiment's file was changed by hand since.
    """
    expected, found = (jax.tree_util.tree_flatten_with_path(t)[0] for t in (like, tree))
    for (path, wanted), (_, leaf) in zip(expected, found, strict=True):
        if jnp.shape(leaf) != wanted.shape:
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            raise UserError(
                f"'{place}': the checkpoint's {name} has the shape {list(jnp.shape(leaf))}, and "
                f"the experiment's model needs {list(wanted.shape)}: expected the layers that the "
                "run was trained with in its experiment.toml"
            )
    return tree


def _averaged(average: Any, new: Any, decay: float, step: Array) -> Any:
    """Take a step of the exponential moving average that weighs the initial weights with zero.

    Of the running mean m ← decay · m + (1 - decay) · new, begun at zero and divided by
    1 - decay^step, as Adam does with its moments, this is the same in one recurrence.
    """
    decay = jnp.float32(decay)
    share = (1 - decay) / (1 - decay ** step.astype(jnp.float32))
    return jax.tree.map(lambda a, b: a + share * (b - a), average, new)
