"""Losses over labelled classes: what an experiment's ``[loss]`` says and minimises."""

from typing import Annotated

from pydantic import Field

from jcnn.losses.base import Loss
from jcnn.losses.binary_cross_entropy import BinaryCrossEntropy
from jcnn.losses.mean_squared_error import MeanSquaredError
from jcnn.losses.softmax_cross_entropy import SoftmaxCrossEntropy

AnyLoss = Annotated[
    SoftmaxCrossEntropy | MeanSquaredError | BinaryCrossEntropy, Field(discriminator="name")
]

__all__ = ["AnyLoss", "BinaryCrossEntropy", "Loss", "MeanSquaredError", "SoftmaxCrossEntropy"]
