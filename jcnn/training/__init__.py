"""Training: a pure step, the loop around it, and the folder that it leaves."""

from jcnn.training.augment import make_augmentation
from jcnn.training.compilation import enable_compilation_cache
from jcnn.training.interruption import Interrupted
from jcnn.training.loop import prepare, train
from jcnn.training.progress import choose_progress
from jcnn.training.runs import Run, unused_folder
from jcnn.training.state import Totals, TrainState, init_state
from jcnn.training.step import make_step
from jcnn.training.trained import Trained, evaluate, load_trained, predict
from jcnn.training.weight_files import load_weights, save_weights
from jcnn.training.weights import read_weights, write_weights

__all__ = [
    "Interrupted",
    "Run",
    "Totals",
    "TrainState",
    "Trained",
    "choose_progress",
    "enable_compilation_cache",
    "evaluate",
    "init_state",
    "load_trained",
    "load_weights",
    "make_augmentation",
    "make_step",
    "predict",
    "prepare",
    "read_weights",
    "save_weights",
    "train",
    "unused_folder",
    "write_weights",
]
