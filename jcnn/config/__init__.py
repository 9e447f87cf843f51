"""An experiment: one TOML file, one typed value; overrides; one sentence for each mistake."""

from jcnn.config.experiment import Experiment, Training, load_experiment, parse_override
from jcnn.config.toml import to_toml

__all__ = ["Experiment", "Training", "load_experiment", "parse_override", "to_toml"]
