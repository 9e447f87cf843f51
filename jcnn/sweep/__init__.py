"""One experiment many times: over values of its keys, and over seeds."""

from jcnn.sweep.plan import Plan, Range, combinations, drawn, parse_choices, parse_over
from jcnn.sweep.run import Combination, Sweep, run_sweep
from jcnn.sweep.tables import print_sweep, save_figure

__all__ = [
    "Combination",
    "Plan",
    "Range",
    "Sweep",
    "combinations",
    "drawn",
    "parse_choices",
    "parse_over",
    "print_sweep",
    "run_sweep",
    "save_figure",
]
