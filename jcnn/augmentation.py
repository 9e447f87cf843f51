"""Augmentations: the random changes of training images that ``training.augment`` names.

Each is applied afresh to every image of every batch, in the order of the list. ``fill`` is what
moves in from outside or covers: the background of the normalised images.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from jcnn.layers.base import Count, Fraction, Real


class Augmentation(BaseModel):
    """The base of every augmentation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str


class Shift(Augmentation):
    """``shift``: move by up to ± ``pixels`` whole pixels along each axis."""

    name: Literal["shift"] = "shift"
    pixels: Count
    fill: Real = 0.0


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
