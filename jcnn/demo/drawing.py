"""From a drawing, or an image's file, to a network's input."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np

from jcnn.demo.network import Network, Question
from jcnn.errors import UserError
from jcnn.fields import check_images
from jcnn.remains import temporary_folder
from jcnn.report import pictures
from jcnn.training import Trained

SIDE = 112  # of the drawing that the page sends, in pixels
MOST_BYTES = 32 << 20  # of an image's file
# Of white digits on black: the side of a published image, and its share that each digit leaves free
# on each side. MNIST's digits fill 20 of 28 pixels; those of others the frame.
_DIGITS = {"mnist": (28, 4 / 28), "digits": (8, 0.0), "usps": (16, 0.0)}
_HEIF = tuple(b"ftyp" + brand for brand in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"))


class Drawer:
    """A network of images, asked about drawings and about images from files."""

    kind: ClassVar[str] = "drawing"

    def __init__(self, trained: Trained) -> None:
        """Compile.

        Raises:
            UserError: The network does not take images.
        """
        self.experiment = trained.experiment
        check_images("jcnn demo", self.experiment.input_shape)
        self._network = Network(trained)
        self._reading = threading.Lock()  # a large image is large in memory: one at a time
        self.questions: Mapping[str, Question] = {
            "/look": Question("drawing", SIDE * SIDE, self.drawn),
            "/image": Question("image", MOST_BYTES, self.read),
            "/image/inverted": Question("image", MOST_BYTES, partial(self.read, invert=True)),
        }

    @property
    def _side(self) -> int | None:
        """The side that an image must have, in pixels; None where any size is prepared."""
        data = self.experiment.data
        if data.name == "image_folder":
            return None
        return _DIGITS[data.name][0] if data.name in _DIGITS else self.experiment.input_shape[0]

    @property
    def settings(self) -> dict[str, Any]:
        """The sizes that are taken, and how drawings and images are prepared."""
        return {
            "side": SIDE,
            "most": MOST_BYTES,
            "exactly": self._side,
            "centred": self.experiment.data.name in _DIGITS,
            "gray": self.experiment.input_shape[-1] == 1,
        }

    def drawn(self, body: bytes) -> dict[str, Any]:
        """Say what a drawing is: 112 x 112 bytes, row by row, 255 where there is ink."""
        ink, data = decoded(body), self.experiment.data
        if data.name in _DIGITS:
            side, margin = _DIGITS[data.name]
            ink = np.rint(255 * centred(ink, (side, side), margin)).astype(np.uint8)
        return self.read(_png(ink, self._side or SIDE))

    def read(self, body: bytes, *, invert: bool = False) -> dict[str, Any]:
        """Say what an image is: a file, read as ``jcnn predict`` reads it."""
        data = self.experiment.data
        with self._reading, temporary_folder() as folder:
            path = folder / ("image.heic" if body[4:12] in _HEIF else "image")
            path.write_bytes(body)
            try:
                x = data.read_example(path, invert=invert)
            except UserError as error:
                raise UserError(str(error).replace(str(path), "the file")) from None
        return self._network(x, pictures.example(x, data.scale, "What the network sees"))


def _png(ink: np.ndarray, side: int) -> bytes:
    """Write a drawing as an image's file, of this side."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(ink).resize((side, side), Image.Resampling.BOX).save(stream, "PNG")
    return stream.getvalue()


def centred(drawing: np.ndarray, size: tuple[int, ...], margin: float = 0.0) -> np.ndarray:
    """Cut a drawing out, scale it into a frame, and put its centre of mass in the middle.

    As MNIST's digits were made; without it, networks that never saw a shifted digit guess.

    Args:
        drawing: uint8, (H, W), 255 where there is ink.
        size: Height and width of the frame.
        margin: Share of the frame that stays free on each side.

    Returns:
        float32 of ``size``, in [0, 1]; zeros of an empty drawing.

    >>> centred(np.zeros((112, 112), np.uint8), (8, 8)).max()
    np.float32(0.0)
    """
    from PIL import Image

    rows, columns = (np.flatnonzero(drawing.max(axis=axis) > 25) for axis in (1, 0))
    frame = np.zeros(size, np.float32)
    if not len(rows):
        return frame
    ink = drawing[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = min((1 - 2 * margin) * n / m for n, m in zip(size, ink.shape, strict=True))
    height, width = (max(1, round(m * scale)) for m in ink.shape)
    small = Image.fromarray(ink).resize((width, height), Image.Resampling.BOX)
    pixels = np.asarray(small, np.float32) / 255
    if not pixels.any():  # so faint that nothing is left of it
        return frame
    weights = pixels / pixels.sum()
    for_axis = (weights.sum(axis=1), weights.sum(axis=0))
    starts = []
    for n, m, share in zip(size, pixels.shape, for_axis, strict=True):
        middle = float((share * (np.arange(m) + 0.5)).sum())
        starts.append(int(np.clip(round(n / 2 - middle), 0, n - m)))
    top, left = starts
    frame[top : top + height, left : left + width] = pixels
    return frame


def decoded(body: bytes) -> np.ndarray:
    """Read what the page sends: 112 x 112 bytes, row by row.

    Raises:
        UserError: There are more or fewer.
    """
    if len(body) != SIDE * SIDE:
        raise UserError(f"expected a drawing of {SIDE * SIDE} bytes, found {len(body)}")
    return np.frombuffer(body, np.uint8).reshape(SIDE, SIDE)
