"""From a drawing to a network's input."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from jcnn.demo.network import Network
from jcnn.errors import UserError
from jcnn.fields import check_images
from jcnn.report import pictures
from jcnn.training import Trained

SIDE = 112  # of the drawing that the page sends, in pixels
_MARGINS = {"mnist": 4 / 28}  # MNIST's digits fill 20 of 28 pixels; those of others the frame


class Drawer:
    """A network of images, asked about drawings."""

    kind: ClassVar[str] = "drawing"
    most_bytes = SIDE * SIDE

    def __init__(self, trained: Trained) -> None:
        """Compile.

        Raises:
            UserError: The network does not take images.
        """
        self.experiment = trained.experiment
        check_images("jcnn demo", self.experiment.input_shape)
        self._network = Network(trained)

    @property
    def settings(self) -> dict[str, Any]:
        """The side of a drawing, in pixels."""
        return {"side": SIDE}

    def __call__(self, body: bytes) -> dict[str, Any]:
        """Say what a drawing is: 112 x 112 bytes, row by row, 255 where there is ink."""
        margin = _MARGINS.get(self.experiment.data.name, 0.0)
        height, width, channels = self.experiment.input_shape
        pixels = centred(decoded(body), (height, width), margin)[..., None]
        x = self._normalized(np.repeat(pixels, channels, axis=-1))
        return self._network(x, pictures.example(pixels, None, "What the network sees"))

    def _normalized(self, pixels: np.ndarray) -> np.ndarray:
        """Normalise pixels in [0, 1] as the run's data are."""
        data = self.experiment.data
        if data.name == "usps":  # published from -1, black, to 1, white
            pixels = 2 * pixels - 1
        mean = np.asarray(getattr(data, "mean", 0.0), np.float32)
        deviation = np.asarray(getattr(data, "standard_deviation", 1.0), np.float32)
        return ((pixels - mean) / deviation).astype(np.float32)


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
