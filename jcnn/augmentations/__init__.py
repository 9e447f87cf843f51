"""Augmentations: random changes of training images, applied anew to every batch."""

from typing import Annotated

from pydantic import Field

from jcnn.augmentations.affine import Affine
from jcnn.augmentations.base import Augmentation, augment
from jcnn.augmentations.color import Color
from jcnn.augmentations.crop import Crop
from jcnn.augmentations.cutout import Cutout
from jcnn.augmentations.flip import Flip
from jcnn.augmentations.shift import Shift

AnyAugmentation = Annotated[
    Shift | Flip | Cutout | Affine | Crop | Color, Field(discriminator="name")
]

__all__ = [
    "Affine",
    "AnyAugmentation",
    "Augmentation",
    "Color",
    "Crop",
    "Cutout",
    "Flip",
    "Shift",
    "augment",
]
