"""Weights in ``.safetensors`` files, under PyTorch's names and in its layout."""

from jcnn.weights.safetensors import read_weights, write_weights
from jcnn.weights.torch_layout import Layout, Tensor, model_tensors

__all__ = [
    "Layout",
    "Tensor",
    "model_tensors",
    "read_weights",
    "write_weights",
]
