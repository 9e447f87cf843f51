"""A run's network for elsewhere: ONNX, StableHLO, safetensors; verified before it is written."""

from jcnn.export.model_card import model_card
from jcnn.export.onnx_graph import onnx_model
from jcnn.export.output import Network, hard_outputs, network
from jcnn.export.run import FORMATS, Exported, export_run
from jcnn.export.stablehlo import stablehlo

__all__ = [
    "FORMATS",
    "Exported",
    "Network",
    "export_run",
    "hard_outputs",
    "model_card",
    "network",
    "onnx_model",
    "stablehlo",
]
