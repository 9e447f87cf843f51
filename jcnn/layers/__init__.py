"""Layers: frozen, typed objects whose fields are the keys of an experiment's ``[[layers]]``."""

from jcnn.layers.activations import (
    LeakyRelu,
    Prelu,
    Relu,
    ScaledTanh,
    Sigmoid,
    Signum,
    Softmax,
    Tanh,
    UnitStep,
)
from jcnn.layers.base import (
    Cost,
    Layer,
    Params,
    Shape,
    State,
    fully_connected_parameters,
)
from jcnn.layers.convolution import Conv, ConvTranspose
from jcnn.layers.dense import Dense
from jcnn.layers.normalization import BatchNorm, Dropout, LocalResponseNorm
from jcnn.layers.pooling import (
    AveragePool,
    Decimate,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool,
    ReluMaxPool,
    SquarePool,
)
from jcnn.layers.rearrangement import Flatten, Pad, Reshape
from jcnn.layers.residual import AnyLayer, Residual
from jcnn.layers.sequence import Sequence
from jcnn.layers.whitening import PatchWhitening

__all__ = [
    "AnyLayer",
    "AveragePool",
    "BatchNorm",
    "Conv",
    "ConvTranspose",
    "Cost",
    "Decimate",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Layer",
    "LeakyRelu",
    "LocalResponseNorm",
    "MaxPool",
    "Pad",
    "Params",
    "PatchWhitening",
    "Prelu",
    "Relu",
    "ReluMaxPool",
    "Reshape",
    "Residual",
    "ScaledTanh",
    "Sequence",
    "Shape",
    "Sigmoid",
    "Signum",
    "Softmax",
    "SquarePool",
    "State",
    "Tanh",
    "UnitStep",
    "fully_connected_parameters",
]
