"""One image file, read strictly, and what data sets of gray images share."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jcnn.data.base import DataConfig
from jcnn.errors import UserError, system_words
from jcnn.fields import PositiveReal, Real

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

LIMIT = "JCNN_MAX_MEGAPIXELS"
HEIF = (".heic", ".heif")
ENDINGS = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"),
    *(".avif", *HEIF),
)
_PILLOW = r"PIL\."
# As Python keeps a filter of a module's warnings.
_QUIET = ("ignore", None, Warning, re.compile(_PILLOW), 0)
# White in gray PNGs of few bits, which are decoded to 8.
_LARGEST_GRAY = {"L;2": 3, "L;4": 15}


def open_image(path: Path, channels: int) -> Image:
    """Read an image and convert it to 8 bits of gray (1 channel) or RGB (3 channels).

    Colour becomes gray by luma (ITU-R 601), gray becomes three equal channels, 16 bits become 8,
    floats from 0 to 1 (or from 0 to 255, where one is above 1) become 8 bits, what is transparent
    becomes black, and a camera's orientation mark is followed.

    Raises:
        UserError: the file is missing, not an image, or broken.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with opened(path) as image:
            _scale_transparent(image)
            image.load()
            return _convert(path, _upright(image), "L" if channels == 1 else "RGB")
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: expected an image file") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder: expected an image file") from None
    except UnidentifiedImageError:
        raise UserError(f"{path} is not an image in a format that can be read") from None
    except (PermissionError, NotADirectoryError) as error:
        raise UserError(f"{path} cannot be read: {system_words(error).lower()}") from None
    except Image.DecompressionBombError:
        raise UserError(
            f"{path} has more pixels than the {2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6:.0f} million"
            f" that are read: make it smaller, or set {LIMIT} to the millions that you want"
        ) from None
    except MemoryError:
        raise UserError(f"{path} is an image too large for the memory") from None
    except Exception as error:  # Pillow's readers raise whatever damaged bytes lead them to
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} is a broken image: {reason}") from None


def opened(path: Path) -> ImageFile:
    """Open an image's file, of which nothing is decoded yet, without Pillow's warnings.

    Raises:
        UserError: the limit of pixels is no number, or the reader of HEIF is not installed.
        Exception: whatever Pillow raises.
    """
    from PIL import Image

    _prepare(path)
    # of marks that a camera wrote wrongly, and of images half as large as it refuses; for good,
    # since files are opened in threads, and filters are the process's
    if _QUIET not in warnings.filters:
        warnings.filterwarnings("ignore", module=_PILLOW)
    return Image.open(path)


def _scale_transparent(image: ImageFile) -> None:
    """Bring a PNG's transparent colour to the bits that its pixels are decoded to."""
    colour = image.info.get("transparency")
    if image.format != "PNG" or not image.tile:
        return
    bits = str(image.tile[0].args)  # as they lie in the file
    if bits in _LARGEST_GRAY and isinstance(colour, int):
        image.info["transparency"] = colour * 255 // _LARGEST_GRAY[bits]
    elif bits == "RGB;16B" and isinstance(colour, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in colour)


def _prepare(path: Path) -> None:
    """Bring Pillow's limit up to the user's, and its reader of HEIF where that is needed."""
    from PIL import Image

    if named := os.environ.get(LIMIT):
        if not named.isdecimal() or not int(named):
            raise UserError(f"{LIMIT} is '{named}': expected millions of pixels, such as 400")
        Image.MAX_IMAGE_PIXELS = int(named) * 500_000  # Pillow refuses what is twice as large
    if path.suffix.lower() in HEIF:
        try:
            from pillow_heif import register_heif_opener  # pyright: ignore[reportMissingImports]
        except ModuleNotFoundError:
            raise UserError(
                f"{path} is a HEIF image, which the package pillow-heif reads: pip install "
                "'jcnn[heif]', or save it as JPEG"
            ) from None
        register_heif_opener()


def _upright(image: Image) -> Image:
    """Follow the orientation mark; marks that cannot be read turn nothing."""
    from PIL.ExifTags import Base
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        mark = image.getexif().get(Base.Orientation)
    except Exception:  # whatever the camera wrote, the pixels are there
        return image.copy()
    turn = turns.get(mark) if isinstance(mark, int) else None
    return image.copy() if turn is None else image.transpose(turn)


def _convert(path: Path, image: Image, mode: str) -> Image:
    from PIL import Image as Pillow

    if image.mode.startswith("I"):  # 16 or 32 bits per pixel, whatever the byte order
        values = np.asarray(image, dtype=np.int64)
        image = Pillow.fromarray(_bytes_of_integers(path, values, image.info.get("transparency")))
    elif image.mode == "F":
        image = Pillow.fromarray(_bytes_of_floats(path, np.asarray(image)))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Pillow.alpha_composite(Pillow.new("RGBA", layer.size, (0, 0, 0, 255)), layer)
    return image if image.mode == mode else image.convert(mode)


def _bytes_of_integers(path: Path, values: np.ndarray, transparent: object) -> np.ndarray:
    low, high = values.min(), values.max()
    if low < 0 or high > 65535:
        raise UserError(f"{path} has integers from {low} to {high} as pixels: expected 0 to 65535")
    if isinstance(transparent, int):
        values = np.where(values == transparent, 0, values)
    return (values // 257).astype(np.uint8)


def _bytes_of_floats(path: Path, values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 255):  # so written, it finds NaN as well
        raise UserError(
            f"{path} has floats from {low:g} to {high:g} as pixels: expected 0 to 1, or 0 to 255"
        )
    return np.rint(values * (255 if high <= 1 else 1)).astype(np.uint8)


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

    @property
    def scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """See :attr:`DataConfig.scale`."""
        return (self.mean,), (self.standard_deviation,)

    def normalize(self, pixels: np.ndarray) -> np.ndarray:
        """Normalise float32 pixels in [0, 1]."""
        return (pixels - np.float32(self.mean)) / np.float32(self.standard_deviation)

    def read_example(self, path: Path, *, invert: bool = False) -> np.ndarray:
        """Read an image of ``input_shape``, white on black (``invert`` for black on white)."""
        return self.normalize(read_pixels(path, self.input_shape, invert=invert))
