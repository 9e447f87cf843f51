"""MNIST: 60,000 + 10,000 handwritten digits, 28x28 (Y. LeCun, C. Cortes, C. Burges)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from jcnn.data.base import Dataset, Split, check_labels
from jcnn.data.folder import data_folder, find_file, missing
from jcnn.data.idx import read_idx
from jcnn.data.image import GrayImages, read_pixels
from jcnn.errors import UserError
from jcnn.fields import Count, FilePath, Natural, PositiveReal, Real, Shape

SIDE = 28
DIRECTIONS = ((0, 1), (1, 0), (0, -1), (-1, 0))  # (down, right): right, down, left, up


class Mnist(GrayImages):
    """``name = "mnist"``: white digits on black, 28x28, classes 0 to 9.

    Attributes:
        folder: where the four IDX files lie, seen from the data folder; gzipped or not.
        mean: subtracted from pixels in [0, 1]; by default the mean of the training set.
        standard_deviation: what the difference is divided by; by default that of the training set.
        canvas_size: the side of the black square in whose middle each digit is put.
        test_shift_pixels: how far each test digit is from the middle: the first one to the
            right, the second one below, then to the left, above, to the right again, ...
    """

    name: Literal["mnist"] = "mnist"
    folder: FilePath = "mnist"
    mean: Real = 0.1307
    standard_deviation: PositiveReal = 0.3081
    canvas_size: Annotated[Count, Field(ge=SIDE)] = SIDE
    test_shift_pixels: Natural = 0

    @model_validator(mode="after")
    def _check_shift(self) -> Mnist:
        room = (self.canvas_size - SIDE) // 2
        if self.test_shift_pixels > room:
            raise ValueError(
                f"expected test_shift_pixels <= {room}, the room that canvas_size = "
                f"{self.canvas_size} leaves around a digit of {SIDE}x{SIDE} pixels, "
                f"found test_shift_pixels = {self.test_shift_pixels}"
            )
        return self

    @property
    def input_shape(self) -> Shape:
        """One gray channel of ``canvas_size`` x ``canvas_size`` pixels."""
        return (self.canvas_size, self.canvas_size, 1)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The ten digits."""
        return tuple("0123456789")

    def load(self) -> Dataset:
        """Read the four IDX files."""
        data = self.select(self._read_split("train"), self._read_split("t10k"))
        validation = data.validation and self._put(data.validation)
        test = self._put(data.test, self.test_shift_pixels)
        return replace(data, train=self._put(data.train), test=test, validation=validation)

    def read_example(self, path: Path, *, invert: bool = False) -> np.ndarray:
        """Read a 28x28 image of a white digit on black (``invert`` for black on white)."""
        pixels = read_pixels(path, (SIDE, SIDE, 1), invert=invert)
        return self._on_canvas(self.normalize(pixels)[np.newaxis])[0]

    def _put(self, split: Split, shift: int = 0) -> Split:
        return replace(split, x=self._on_canvas(split.x, shift))

    def _on_canvas(self, x: np.ndarray, shift: int = 0) -> np.ndarray:
        """Put normalised digits on the canvas, ``shift`` pixels from its middle."""
        if self.canvas_size == SIDE:
            return x
        black = self.normalize(np.zeros((), np.float32))
        canvas = np.full((len(x), *self.input_shape), black, np.float32)
        margin = (self.canvas_size - SIDE) // 2
        for turn, (down, right) in enumerate(DIRECTIONS):
            top, left = margin + down * shift, margin + right * shift
            some = slice(turn, None, len(DIRECTIONS))
            canvas[some, top : top + SIDE, left : left + SIDE] = x[some]
        return canvas

    def _read_split(self, prefix: str) -> Split:
        image_path = self._find(f"{prefix}-images-idx3-ubyte")
        label_path = self._find(f"{prefix}-labels-idx1-ubyte")
        images, labels = read_idx(image_path, rank=3), read_idx(label_path, rank=1)
        if images.shape[1:] != (SIDE, SIDE):
            found = "x".join(map(str, images.shape[1:]))
            raise UserError(f"{image_path} has images of {found}: expected {SIDE}x{SIDE}")
        if not len(images):
            raise UserError(f"{image_path} holds no image: expected at least one")
        if len(labels) != len(images):
            raise UserError(
                f"{label_path} has {len(labels)} labels: expected {len(images)}, one for each "
                f"image of {image_path.name}"
            )
        check_labels(label_path, labels, len(self.class_names))
        pixels = images.astype(np.float32)[..., np.newaxis] / np.float32(255)
        return Split(self.normalize(pixels), labels.astype(np.int32))

    def _find(self, stem: str) -> Path:
        folder = data_folder() / self.folder
        path = find_file(folder, stem)
        if path is None:
            raise missing(self.name, folder / stem, ".gz")
        return path
