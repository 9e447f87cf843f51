"""A few examples to look at gradients with."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jcnn.config import Experiment
from jcnn.data import Batch
from jcnn.errors import UserError

# Real images have flat regions, whose windows tie; noise breaks ties, where no gradient is unique.
DITHER = 1e-3


def real_batch(experiment: Experiment, count: int) -> Batch:
    """Choose ``count`` training examples by the experiment's seed.

    Raises:
        UserError: The data are missing, or fewer.
    """
    stream = experiment.data.stream()
    if stream is not None:
        _check_count(experiment, count, stream.train_count)
        return next(stream.train_batches(count, seed=experiment.seed))
    train = experiment.data.load().train
    _check_count(experiment, count, len(train))
    chosen = np.random.default_rng(experiment.seed).choice(len(train), count, replace=False)
    return train.x[chosen], train.y[chosen]


def _check_count(experiment: Experiment, count: int, available: int) -> None:
    if count > available:
        raise UserError(
            f"a batch of {count} was asked for, and data set '{experiment.data.name}' has "
            f"{available} training examples (--batch-size)"
        )


def random_batch(experiment: Experiment, count: int) -> Batch:
    """Draw ``count`` examples of noise, with random labels, by the experiment's seed."""
    generator = np.random.default_rng(experiment.seed)
    x = generator.standard_normal((count, *experiment.input_shape)).astype(np.float32)
    return x, generator.integers(0, experiment.class_count, count).astype(np.int32)


def without_ties(
    experiment: Experiment, x: np.ndarray, params: Any, state: Any, generator: np.random.Generator
) -> tuple[Any, Any, np.ndarray]:
    """Return parameters, their state and a batch with a little noise, float64.

    Parameters are the seed's initial ones where not given, with noise too: kernels that begin as
    copies pass on zeros, which tie.
    """
    if params is None:
        key = jax.random.key(experiment.seed)
        params, state = experiment.model.init(key, experiment.input_shape)
        params = jax.tree.map(lambda a: _dithered(a, generator), params)
    params, state = jax.tree.map(lambda a: np.asarray(a, np.float64), (params, state))
    return params, state, _dithered(x, generator)


def _dithered(a: Any, generator: np.random.Generator) -> np.ndarray:
    return np.asarray(a, np.float64) + DITHER * generator.standard_normal(a.shape)
