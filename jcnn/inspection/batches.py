"""A few examples to look at gradients with."""

from __future__ import annotations

import numpy as np

from jcnn.config import Experiment
from jcnn.data import Batch
from jcnn.errors import UserError


def real_batch(experiment: Experiment, count: int) -> Batch:
    """Choose ``count`` training examples by the experiment's seed.

    Raises:
        UserError: The data are missing, or fewer.
    """
    stream = experiment.data.stream()
    if stream is not None:
        return next(stream.train_batches(count, seed=experiment.seed))
    train = experiment.data.load().train
    if count > len(train):
        raise UserError(
            f"a batch of {count} was asked for, and data set '{experiment.data.name}' has "
            f"{len(train)} training examples"
        )
    chosen = np.random.default_rng(experiment.seed).choice(len(train), count, replace=False)
    return train.x[chosen], train.y[chosen]


def random_batch(experiment: Experiment, count: int) -> Batch:
    """Draw ``count`` examples of noise, with random labels, by the experiment's seed."""
    generator = np.random.default_rng(experiment.seed)
    x = generator.standard_normal((count, *experiment.input_shape)).astype(np.float32)
    return x, generator.integers(0, experiment.class_count, count).astype(np.int32)
