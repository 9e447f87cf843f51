"""Training: a pure step, the loop around it, and what it has learned."""

from jcnn.training.compilation import enable_compilation_cache
from jcnn.training.failure import Failure, NonFiniteError, load_failure
from jcnn.training.interruption import Interrupted, Interruption
from jcnn.training.loop import prepare, train
from jcnn.training.profile import Profile
from jcnn.training.progress import Progress, choose_progress
from jcnn.training.state import Totals, TrainState
from jcnn.training.step import Step
from jcnn.training.trained import (
    Prediction,
    Trained,
    evaluate,
    load_trained,
    predict,
    predictions,
)
from jcnn.training.weight_files import load_weights, save_weights

__all__ = [
    "Failure",
    "Interrupted",
    "Interruption",
    "NonFiniteError",
    "Prediction",
    "Profile",
    "Progress",
    "Step",
    "Totals",
    "TrainState",
    "Trained",
    "choose_progress",
    "enable_compilation_cache",
    "evaluate",
    "load_failure",
    "load_trained",
    "load_weights",
    "predict",
    "predictions",
    "prepare",
    "save_weights",
    "train",
]
