"""A step on many devices that need not be there: compiled, counted, and its time predicted."""

from jcnn.scaling.chips import CHIPS, Chip, chip_of
from jcnn.scaling.devices import devices_for, has_tpu_compiler, provide_virtual
from jcnn.scaling.prediction import Row, Scaling, parse_counts, predict, with_batch
from jcnn.scaling.programs import Program, compile_step
from jcnn.scaling.tables import print_scaling, save_plot

__all__ = [
    "CHIPS",
    "Chip",
    "Program",
    "Row",
    "Scaling",
    "chip_of",
    "compile_step",
    "devices_for",
    "has_tpu_compiler",
    "parse_counts",
    "predict",
    "print_scaling",
    "provide_virtual",
    "save_plot",
    "with_batch",
]
