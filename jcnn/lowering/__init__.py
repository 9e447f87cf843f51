"""How correlations and pools run: the fastest arrangement for a platform and a shape."""

from jcnn.geometry import Geometry
from jcnn.lowering.choice import Choice, choose
from jcnn.lowering.correlations import correlate, input_gradient, kernel_gradient
from jcnn.lowering.policy import Policy, allow_winograd, forced, noted
from jcnn.lowering.pools import (
    gather,
    max_pool,
    scatter,
    window_spread,
    window_sum,
)
from jcnn.lowering.sums import channel_sum
from jcnn.lowering.xla_pools import maxima, scatter_in, serves, traced_for

__all__ = [
    "Choice",
    "Geometry",
    "Policy",
    "allow_winograd",
    "channel_sum",
    "choose",
    "correlate",
    "forced",
    "gather",
    "input_gradient",
    "kernel_gradient",
    "max_pool",
    "maxima",
    "noted",
    "scatter",
    "scatter_in",
    "serves",
    "traced_for",
    "window_spread",
    "window_sum",
]
