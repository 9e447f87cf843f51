"""MNIST: 60,000 + 10,000 handwritten digits, 28x28 (Y. LeCun, C. Cortes, C. Burges)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from jcnn.data.base import Dataset, FiniteFloat, PositiveFloat, Shape, Split, check_labels
from jcnn.data.folder import data_folder, find_file, missing
from jcnn.data.idx import read_idx
from jcnn.data.image import GrayImages
from jcnn.errors import UserError


class Mnist(GrayImages, frozen=True):
    """``name = "mnist"``: white digits on black, 28x28, classes 0 to 9.

    Attributes:
        folder: where the four IDX files lie, seen from the data folder; gzipped or not.
        mean: subtracted from pixels in [0, 1]; by default the mean of the training set.
        standard_deviation: what the difference is divided by; by default that of the training set.
    """

    name: Literal["mnist"] = "mnist"
    folder: str = "mnist"
    mean: FiniteFloat = 0.1307
    standard_deviation: PositiveFloat = 0.3081

    @property
    def input_shape(self) -> Shape:
        """One gray channel of 28x28 pixels."""
        return (28, 28, 1)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The ten digits."""
        return tuple("0123456789")

    def load(self) -> Dataset:
        """Read the four IDX files."""
        return self.select(self._read_split("train"), self._read_split("t10k"))

    def _read_split(self, prefix: str) -> Split:
        image_path = self._find(f"{prefix}-images-idx3-ubyte")
        label_path = self._find(f"{prefix}-labels-idx1-ubyte")
        images, labels = read_idx(image_path, rank=3), read_idx(label_path, rank=1)
        height, width = self.input_shape[:2]
        if images.shape[1:] != (height, width):
            found = "x".join(map(str, images.shape[1:]))
            raise UserError(f"{image_path} has images of {found}: expected {height}x{width}")
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
