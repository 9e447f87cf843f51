"""Training: a pure step, the loop around it, and what it has learned."""

from jcnn.training.compilation import enable_compilation_cache
from jcnn.training.interruption import Interrupted
from jcnn.training.loop import prepare, train
from jcnn.training.progress import choose_progress
from jcnn.training.state import Totals, TrainState
from jcnn.training.step import Step
from jcnn.training.trained import Trained, evaluate, load_trained, predict
from jcnn.training.weight_files import load_weights, save_weights

__all__ = [
    "Interrupted",
    "Step",
    "Totals",
    "TrainState",
    "Trained",
    "choose_progress",
    "enable_compilation_cache",
    "evaluate",
    "load_trained",
    "load_weights",
    "predict",
    "prepare",
    "save_weights",
    "train",
]
