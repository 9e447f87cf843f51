"""An experiment: one TOML file, one typed value; overrides; one sentence for each mistake."""

from jcnn.config.experiment import Experiment, load_experiment, parse_override
from jcnn.config.mesh import Distributed, Mesh
from jcnn.config.toml import to_toml
from jcnn.config.tracking import Tracking
from jcnn.config.training import EarlyStopping, InitialWeights, Training

__all__ = [
    "Distributed",
    "EarlyStopping",
    "Experiment",
    "InitialWeights",
    "Mesh",
    "Tracking",
    "Training",
    "load_experiment",
    "parse_override",
    "to_toml",
]
