"""One training step, a pure function."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import ModuleType

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jcnn import ops as explicit_ops
from jcnn.augmentations import augment
from jcnn.config import Experiment
from jcnn.training.state import Totals, TrainState

# Apart from the keys of the layers, which are numbered from 0.
_PROBE = 2**31

Step = Callable[[TrainState, Array, Array, Array], tuple[TrainState, Totals]]


def make_step(
    experiment: Experiment, ops: ModuleType = explicit_ops, *, steps_per_epoch: int = 1
) -> Step:
    """Return the step ``(state, x, y, key) -> (state, totals)`` of an experiment.

    Args:
        experiment: Model, loss, optimizer, augmentation and precision.
        ops: :mod:`jcnn.ops`, or :mod:`jcnn.reference` for the same step through ``jax.grad`` alone.
        steps_per_epoch: What a schedule's epochs stand for.
    """
    model, training = experiment.model, experiment.training
    optimizer = experiment.optimizer.build(steps_per_epoch)
    compute_dtype = jnp.dtype(training.precision)

    def mean_loss(params, state, x, y, key):
        prediction, state = model.apply(params, state, x, training=True, key=key, ops=ops)
        prediction = prediction.astype(jnp.float32)
        losses = experiment.loss.per_example(prediction, y, ops)
        correct = (experiment.loss.predict(prediction) == y).sum(dtype=jnp.int32)
        totals = Totals(losses.sum(), correct, jnp.int32(len(y)))
        return losses.mean(), (state, totals)

    def curvature(state: TrainState, x, model_key, probe_key):
        """Estimate the Gauss-Newton diagonal of the mean loss: one backward pass of a probe."""

        def output(params):
            y, _ = model.apply(params, state.state, x, training=True, key=model_key, ops=ops)
            return y.astype(jnp.float32)

        prediction, pullback = jax.vjp(output, state.params)
        probe = experiment.loss.curvature_probe(prediction, probe_key)
        (projected,) = pullback(probe / math.sqrt(len(x)))
        return jax.tree.map(jnp.square, projected)

    def step(state: TrainState, x: Array, y: Array, key: Array) -> tuple[TrainState, Totals]:
        augment_key, model_key = jax.random.split(key)
        x = augment(training.augment, augment_key, x).astype(compute_dtype)
        gradients, (running, totals) = jax.grad(mean_loss, has_aux=True)(
            state.params, state.state, x, y, model_key
        )
        probe_key = jax.random.fold_in(model_key, _PROBE)
        updates, opt_state = optimizer.update(
            gradients,
            state.opt_state,
            state.params,
            curvature=partial(curvature, state, x, model_key, probe_key),
        )
        params = optax.apply_updates(state.params, updates)
        average = state.average
        if training.average_decay is not None:
            average = optax.incremental_update(params, average, 1 - training.average_decay)
        return TrainState(params, running, opt_state, average, state.step + 1), totals

    return step
