"""Any optimizer of Optax by name and arguments, with its schedules, and two of jcnn's own."""

from jcnn.optimizers.catalogue import optimizers, schedules, transformations
from jcnn.optimizers.diagonal_levenberg_marquardt import (
    curvatures,
    diagonal_levenberg_marquardt,
    scale_by_diagonal_curvature,
)
from jcnn.optimizers.fixed_norms import fixed_norms
from jcnn.optimizers.transformation import Optimizer, Preparation, Transformation

__all__ = [
    "Optimizer",
    "Preparation",
    "Transformation",
    "curvatures",
    "diagonal_levenberg_marquardt",
    "fixed_norms",
    "optimizers",
    "scale_by_diagonal_curvature",
    "schedules",
    "transformations",
]
