"""Weights for layers that a sample of the training examples determines."""

from __future__ import annotations

from jcnn.config import Experiment
from jcnn.layers import Context
from jcnn.training import keys
from jcnn.training.feeds import Feed
from jcnn.training.state import Weights
from jcnn.training.weight_files import read_state

# Images of 32x32 have a million patches then.
SAMPLE = 1024


def calibrated(
    experiment: Experiment, feed: Feed, weights: Weights | None = None
) -> Weights | None:
    """Set from a sample the state of the layers that ask for one, where no file gives it.

    Args:
        experiment: Whose model it is.
        feed: Where the sample comes from.
        weights: Parameters and state of ``training.initial_weights``; drawn where not given.

    Returns:
        Parameters and state; ``weights`` where there is nothing to set.
    """
    model, named = experiment.model, experiment.training.initial_weights
    if not model.needs_sample or (weights is not None and not (named and named.ignore)):
        return weights
    known = None if weights is None else read_state(experiment)
    params, state = weights or model.init(keys.init_key(experiment.seed), experiment.input_shape)
    context = Context(feed.step.ops)
    return params, model.calibrate(params, state, feed.sample(SAMPLE), context, known)
