"""How a photograph of any size becomes a training or test example (Krizhevsky et al. 2012)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jcnn.data.image import open_image
from jcnn.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

Rgb = tuple[float, float, float]
# Of an image, the longer side over the shorter one, at most.
LONGEST = 100


@dataclass(frozen=True)
class Evaluation:
    """The square in the middle of an image whose shorter side is made ``resize`` long.

    Attributes:
        image_size: the side of the square.
        resize: the length of the shorter side before.
        mean: subtracted from each channel of pixels in [0, 1]; as many channels as it has.
        standard_deviation: what the difference is divided by.
    """

    image_size: int
    resize: int
    mean: tuple[float, ...]
    standard_deviation: tuple[float, ...]

    def read(self, path: Path, *, invert: bool = False) -> np.ndarray:
        """Read an image into normalised float32 (image_size, image_size, channels)."""
        image = self.resized(path)
        left, top = ((side - self.image_size) // 2 for side in image.size)
        pixels = self.cut(image, left, top)
        return self.normalize(1 - pixels if invert else pixels)

    def resized(self, path: Path) -> Image:
        """Read an image and make its shorter side ``resize`` long, bilinearly, without aliasing."""
        from PIL.Image import Resampling

        image = open_image(path, channels=len(self.mean))
        check_shape(path, image)
        shorter = min(image.size)
        if shorter == self.resize:
            return image
        # the other side never gets shorter than this one, whatever the rounding
        width, height = (max(self.resize, round(s * self.resize / shorter)) for s in image.size)
        return image.resize((width, height), Resampling.BILINEAR)

    def cut(self, image: Image, left: int, top: int) -> np.ndarray:
        """Cut the square out, as float32 pixels in [0, 1]."""
        square = image.crop((left, top, left + self.image_size, top + self.image_size))
        pixels = np.asarray(square, np.float32) / np.float32(255)
        return pixels.reshape(self.image_size, self.image_size, len(self.mean))

    def normalize(self, pixels: np.ndarray) -> np.ndarray:
        """Subtract the mean and divide by the standard deviation, channel by channel."""
        centred = pixels - np.array(self.mean, np.float32)
        return centred / np.array(self.standard_deviation, np.float32)


def check_shape(path: Path, image: Image) -> None:
    """Refuse a line of pixels: the other side would be made as long as memory is large."""
    if max(image.size) > LONGEST * min(image.size):
        width, height = image.size
        raise UserError(
            f"{path} is an image of {width} x {height} pixels: expected a longer side of at most "
            f"{LONGEST} times the shorter"
        )


@dataclass(frozen=True)
class ImagePreparation:
    """A random square, mirrored half of the time, its colours shifted along their principal axes.

    The shift of an image is sum over k of alpha_k color_scales_k color_axes_k, the same for each of
    its pixels, with alpha_k drawn from N(0, color_shift²).

    Attributes:
        evaluation: the sizes and the normalisation.
        mirror: whether to mirror, left to right.
        color_shift: the standard deviation of the factors; 0 turns the shift off.
        color_scales: the scale of each principal axis.
        color_axes: the principal axes of the colours, one row per axis.
    """

    evaluation: Evaluation
    mirror: bool
    color_shift: float
    color_scales: Rgb
    color_axes: tuple[Rgb, Rgb, Rgb]

    def read(self, path: Path, rng: np.random.Generator) -> np.ndarray:
        """Read an image into a random example, float32 (image_size, image_size, channels)."""
        image = self.evaluation.resized(path)
        # drawn whether used or not: a switch of one keeps the others' draws
        fraction_x, fraction_y, side = rng.random(3)
        factors = rng.normal(size=3) * self.color_shift
        width, height = (length - self.evaluation.image_size + 1 for length in image.size)
        pixels = self.evaluation.cut(image, int(fraction_x * width), int(fraction_y * height))
        if self.mirror and side < 0.5:
            pixels = pixels[:, ::-1]
        if not self.color_shift:
            return self.evaluation.normalize(pixels)
        shift = (factors * np.array(self.color_scales)) @ np.array(self.color_axes)
        return self.evaluation.normalize(pixels + shift.astype(np.float32))
