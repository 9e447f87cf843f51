"""Layers: frozen, typed objects whose fields are the keys of an experiment's ``[[layers]]``."""

from typing import Annotated

from pydantic import Field

from jcnn.fields import Shape
from jcnn.layers.activations import (
    Gelu,
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
    WHOLE,
    Context,
    Cost,
    Layer,
    Params,
    Shards,
    State,
    fully_connected_parameters,
)
from jcnn.layers.convolution import Conv, ConvTranspose
from jcnn.layers.dense import Dense
from jcnn.layers.model import Model
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
from jcnn.layers.residual import Residual
from jcnn.layers.sequence import Sequence
from jcnn.layers.whitening import PatchWhitening

AnyLayer = Annotated[
    Conv
    | ConvTranspose
    | Dense
    | Relu
    | LeakyRelu
    | Prelu
    | Sigmoid
    | Tanh
    | ScaledTanh
    | Gelu
    | Softmax
    | UnitStep
    | Signum
    | MaxPool
    | ReluMaxPool
    | AveragePool
    | SquarePool
    | Decimate
    | GlobalMaxPool
    | GlobalAveragePool
    | Pad
    | Flatten
    | Reshape
    | Dropout
    | BatchNorm
    | LocalResponseNorm
    | PatchWhitening
    | Residual,
    Field(discriminator="type"),
]

# A block holds layers of any kind, its own among them: its fields resolve only now.
Residual.model_rebuild(_types_namespace={"AnyLayer": AnyLayer})

__all__ = [
    "WHOLE",
    "AnyLayer",
    "AveragePool",
    "BatchNorm",
    "Context",
    "Conv",
    "ConvTranspose",
    "Cost",
    "Decimate",
    "Dense",
    "Dropout",
    "Flatten",
    "Gelu",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Layer",
    "LeakyRelu",
    "LocalResponseNorm",
    "MaxPool",
    "Model",
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
    "Shards",
    "Sigmoid",
    "Signum",
    "Softmax",
    "SquarePool",
    "State",
    "Tanh",
    "UnitStep",
    "fully_connected_parameters",
]
