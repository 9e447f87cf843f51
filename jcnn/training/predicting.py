"""What a state predicts of inputs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType

import jax.numpy as jnp
from jax import Array

from jcnn import ops as explicit_ops
from jcnn.config import Experiment
from jcnn.layers import WHOLE, Shards
from jcnn.training.compilation import multiplying
from jcnn.training.state import TrainState
from jcnn.views import over_views


def make_predict(
    experiment: Experiment, ops: ModuleType = explicit_ops, shards: Shards = WHOLE
) -> Callable[[TrainState, Array], Array]:
    """Return ``(state, x) -> prediction`` (logits for most losses), float32.

    Args:
        experiment: Whose model it is.
        ops: Through which operations.
        shards: Of what part of a batch, inside ``jax.shard_map``.
    """
    model, dtype = experiment.model, jnp.dtype(experiment.training.precision)

    def predict(state: TrainState, x: Array) -> Array:
        with multiplying(experiment):
            prediction, _ = model.apply(*state.evaluated, x.astype(dtype), ops=ops, shards=shards)
        return prediction.astype(jnp.float32)

    views, space = experiment.training.views, shards.space
    return lambda state, x: over_views(partial(predict, state), views, space)(x)


def make_probabilities(
    experiment: Experiment, ops: ModuleType = explicit_ops
) -> Callable[[TrainState, Array], Array]:
    """Return ``(state, x) -> probability of each class``, float32 (N, K)."""
    predict = make_predict(experiment, ops)
    return lambda state, x: experiment.loss.probabilities(predict(state, x))


def make_scores(
    experiment: Experiment, ops: ModuleType = explicit_ops
) -> Callable[[TrainState, Array], Array]:
    """Return ``(state, x) -> score of each class``, float32 (N, K); see :meth:`Loss.scores`."""
    predict = make_predict(experiment, ops)
    return lambda state, x: experiment.loss.scores(predict(state, x))
