"""How correlations and pools run: the fastest arrangement for a platform and a shape."""

from jcnn.lowering.geometry import Geometry
from jcnn.lowering.pools import (
    gather,
    max_pool,
    max_pool_values,
    scatter,
    window_spread,
    window_sum,
)
from jcnn.lowering.xla import correlate, input_gradient, kernel_gradient

__all__ = [
    "Geometry",
    "correlate",
    "gather",
    "input_gradient",
    "kernel_gradient",
    "max_pool",
    "max_pool_values",
    "scatter",
    "window_spread",
    "window_sum",
]
