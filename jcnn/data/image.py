"""One image file, read strictly, and what data sets of gray images share."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jcnn.data.base import DataConfig
from jcnn.errors import UserError
from jcnn.fields import PositiveReal, Real

if TYPE_CHECKING:
    from PIL.Image import Image


def open_image(path: Path, channels: int) -> Image:
    """Read an image and convert it to 8 bits of gray (1 channel) or RGB (3 channels).

    Colour becomes gray by luma (ITU-R 601), gray becomes three equal channels, 16 bits become 8,
    what is transparent becomes black, and a camera's orientation mark is followed.

    Raises:
        UserError: the file is missing, not an image, or broken.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Pillow warns of an image of suspicious size before it refuses one: refuse both
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                upright = ImageOps.exif_transpose(image)
                return _convert(upright, "L" if channels == 1 else "RGB")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: expected an image file") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder: expected an image file") from None
    except UnidentifiedImageError:
        raise UserError(f"{path} is not an image in a format that can be read") from None
    except PermissionError:
        raise UserError(f"{path} cannot be read: permission denied") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UserError(f"{path} is far too large an image to be read") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UserError(f"{path} is a broken image: {error}") from None


def _convert(image: Image, mode: str) -> Image:
    from PIL import Image as Pillow

    if image.mode.startswith("I"):  # 16 bits per pixel, whatever the byte order
        narrowed = np.clip(np.asarray(image, dtype=np.int64), 0, 65535) // 257
        image = Pillow.fromarray(narrowed.astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Pillow.alpha_composite(Pillow.new("RGBA", layer.size, (0, 0, 0, 255)), layer)
    return image if image.mode == mode else image.convert(mode)


def read_pixels(path: Path, shape: tuple[int, ...], *, invert: bool = False) -> np.ndarray:
    """Read an image of exactly ``shape`` (H, W, C) into float32 pixels in [0, 1].

    Raises:
        UserError: see :func:`open_image`; or the image has another size.
    """
    height, width, channels = shape
    image = open_image(path, channels)
    if image.size != (width, height):
        raise UserError(
            f"{path} is an image of {image.size[0]}x{image.size[1]} pixels: expected "
            f"{width}x{height} (width x height), as in the training data"
        )
    pixels = np.asarray(image, dtype=np.float32).reshape(shape) / np.float32(255)
    return np.float32(1) - pixels if invert else pixels


class GrayImages(DataConfig):
    """A data set of gray images of one size, normalised by x = (pixel - mean) / standard_deviation.

    Attributes:
        mean: what is subtracted from a pixel, on the scale of 0 (black) to 1 (white).
        standard_deviation: what the difference is divided by, on the same scale.
    """

    mean: Real = 0.0
    standard_deviation: PositiveReal = 1.0

    def normalize(self, pixels: np.ndarray) -> np.ndarray:
        """Normalise float32 pixels in [0, 1]."""
        return (pixels - np.float32(self.mean)) / np.float32(self.standard_deviation)

    def read_example(self, path: Path, *, invert: bool = False) -> np.ndarray:
        """Read an image of ``input_shape``, white on black (``invert`` for black on white)."""
        return self.normalize(read_pixels(path, self.input_shape, invert=invert))
