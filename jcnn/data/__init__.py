"""Data sets: one typed configuration each, chosen by its name."""

from typing import Annotated

from pydantic import Field

from jcnn.data.base import Batch, DataConfig, Dataset, Split, StreamingDataset
from jcnn.data.cifar10 import Cifar10
from jcnn.data.digits import Digits
from jcnn.data.folder import data_folder
from jcnn.data.fsdd import Fsdd
from jcnn.data.image_folder import ImageFolder
from jcnn.data.mel import MelFrontEnd
from jcnn.data.mnist import Mnist
from jcnn.data.sound_folder import SoundFolder
from jcnn.data.usps import Usps

AnyData = Annotated[
    Digits | Mnist | Usps | Fsdd | Cifar10 | ImageFolder | SoundFolder,
    Field(discriminator="name"),
]

__all__ = [
    "AnyData",
    "Batch",
    "Cifar10",
    "DataConfig",
    "Dataset",
    "Digits",
    "Fsdd",
    "ImageFolder",
    "MelFrontEnd",
    "Mnist",
    "SoundFolder",
    "Split",
    "StreamingDataset",
    "Usps",
    "data_folder",
]
