"""Augmentations: the random changes of training images that ``training.augment`` names.

Each is applied afresh to every image of every batch, in the order of the list. ``fill`` is what
moves in from outside or covers: the background of the normalised images.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from jcnn.errors import UserError
from jcnn.layers.base import Count, Fraction, Real, Shape, by


class Augmentation(BaseModel):
    """The base of every augmentation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str

    def check_input(self, input_shape: Shape) -> None:
        """Refuse examples that are no images."""
        if len(input_shape) != 3:
            raise UserError(
                f"training.augment: '{self.name}' needs images (height x width x channels), "
                f"and the data are {by(input_shape)}"
            )


class Shift(Augmentation):
    """``shift``: move by up to ± ``pixels`` whole elements along each spatial axis."""

    name: Literal["shift"] = "shift"
    pixels: Count
    fill: Real = 0.0

    def check_input(self, input_shape: Shape) -> None:
        """Take signals as well as images."""


class Flip(Augmentation):
    """``flip``: mirror left and right, with a probability."""

    name: Literal["flip"] = "flip"
    probability: Annotated[Real, Field(ge=0, le=1)] = 0.5


class Cutout(Augmentation):
    """``cutout``: cover a square of ``size`` pixels, its centre anywhere in the image."""

    name: Literal["cutout"] = "cutout"
    size: Count
    fill: Real = 0.0


class Affine(Augmentation):
    """``affine``: turn by up to ± ``degrees``, move by ± ``pixels``, scale by 1 ± ``scale``."""

    name: Literal["affine"] = "affine"
    degrees: Annotated[Real, Field(ge=0)] = 0.0
    pixels: Annotated[Real, Field(ge=0)] = 0.0
    scale: Fraction = 0.0
    fill: Real = 0.0


AnyAugmentation = Annotated[Shift | Flip | Cutout | Affine, Field(discriminator="name")]
