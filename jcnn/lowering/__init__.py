"""How correlations and pools run: the fastest arrangement for a platform and a shape."""

from jcnn.geometry import Geometry
from jcnn.lowering.choice import Candidate, Choice, candidates, choose, decide
from jcnn.lowering.compiling import compiler_options
from jcnn.lowering.correlations import correlate, input_gradient, kernel_gradient
from jcnn.lowering.machine import Machine, this_machine
from jcnn.lowering.order import computed_anew, on_cpu_after
from jcnn.lowering.policy import Policy, allow_native, allow_winograd, forced, noted, on_machine
from jcnn.lowering.pools import (
    gather,
    max_pool,
    scatter,
    window_spread,
    window_sum,
)
from jcnn.lowering.problem import Problem
from jcnn.lowering.sums import channel_sum, one_value
from jcnn.lowering.windows import nan_where
from jcnn.lowering.xla_pools import maxima, scatter_in, serves, traced_for

__all__ = [
    "Candidate",
    "Choice",
    "Geometry",
    "Machine",
    "Policy",
    "Problem",
    "allow_native",
    "allow_winograd",
    "candidates",
    "channel_sum",
    "choose",
    "compiler_options",
    "computed_anew",
    "correlate",
    "decide",
    "forced",
    "gather",
    "input_gradient",
    "kernel_gradient",
    "max_pool",
    "maxima",
    "nan_where",
    "noted",
    "on_cpu_after",
    "on_machine",
    "one_value",
    "scatter",
    "scatter_in",
    "serves",
    "this_machine",
    "traced_for",
    "window_spread",
    "window_sum",
]
