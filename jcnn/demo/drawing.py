"""From a drawing to a network's input, and to what the page shows of it."""

from __future__ import annotations

import threading
from os import PathLike
from typing import Any

import jax.numpy as jnp
import numpy as np

from jcnn.errors import UserError
from jcnn.fields import check_images
from jcnn.report import pictures
from jcnn.report.passes import backward_pass
from jcnn.training import load_trained

SIDE = 112  # of the drawing that the page sends, in pixels
_MARGINS = {"mnist": 4 / 28}  # MNIST's digits fill 20 of 28 pixels; those of others the frame
_MOST_LAYERS = 12


class Drawer:
    """A run's network, compiled once; one drawing at a time."""

    def __init__(self, folder: str | PathLike[str]) -> None:
        """Load a run.

        Raises:
            UserError: The folder holds no run, or its network does not take images.
        """
        trained = load_trained(folder)
        self.experiment = trained.experiment
        check_images("jcnn demo", self.experiment.input_shape)
        self._pass = backward_pass(self.experiment, *trained.state.evaluated)
        self._lock = threading.Lock()
        self(np.zeros((SIDE, SIDE), np.uint8))  # compiles, so that the first stroke need not wait

    def __call__(self, drawing: np.ndarray) -> dict[str, Any]:
        """Say what a drawing is, and show its way forward and back.

        Args:
            drawing: uint8, (112, 112): 255 where there is ink.

        Returns:
            ``class``, ``probabilities`` by class, ``input`` and ``gradient`` as pictures, and
            ``layers``: name, picture of the output, picture of δ. δ is that of the loss which the
            class of the highest probability would have.
        """
        data = self.experiment.data
        margin = _MARGINS.get(data.name, 0.0)
        pixels = centred(drawing, self.experiment.input_shape[:2], margin)
        x = self._normalized(np.repeat(pixels[..., None], self.experiment.input_shape[2], axis=-1))
        with self._lock:
            first = self._pass(x, 0)
            output = jnp.asarray(first.layers[-1].y[None])
            probabilities = np.asarray(self.experiment.loss.probabilities(output))[0]
            best = int(probabilities.argmax())
            passed = self._pass(x, best)
        names = data.class_names
        by_class = {name: float(p) for name, p in zip(names, probabilities, strict=True)}
        return {
            "class": names[best],
            "probabilities": by_class,
            "input": pictures.example(pixels[..., None], what="What the network sees").uri,
            "gradient": pictures.over(x, passed.input_gradient, "∂L/∂a over a").uri,
            "layers": [
                {
                    "name": passage.name,
                    "z": pictures.signed(passage.y, "z").uri,
                    "delta": pictures.signed(passage.dy, "δ").uri,
                }
                for passage in passed.layers
                if passage.layer.type not in ("flatten", "reshape", "dropout")
            ][:_MOST_LAYERS],
        }

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
