"""Weights for layers that a sample of the training examples determines."""

from __future__ import annotations

from jcnn.config import Experiment
from jcnn.layers import Context
from jcnn.training import keys
from jcnn.training.feeds import Feed
from jcnn.training.state import Weights

# Images of 32x32 have a million patches then.
SAMPLE = 1024


def calibrated(experiment: Experiment, feed: Feed) -> Weights | None:
    """Draw the parameters, and set from a sample the state of the layers that ask for one.

    Returns:
        Parameters and state; None where no layer asks.
    """
    model = experiment.model
    if not model.needs_sample:
        return None
    params, state = model.init(keys.init_key(experiment.seed), experiment.input_shape)
    return params, model.calibrate(params, state, feed.sample(SAMPLE), Context(feed.step.ops))
