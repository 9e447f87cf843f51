"""CIFAR-10 in its binary version: 50,000 + 10,000 photographs, 32x32 (A. Krizhevsky, 2009)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from jcnn.data.base import DataConfig, Dataset, Split, check_labels
from jcnn.data.folder import data_folder, find_file, missing, read_content
from jcnn.data.image import read_pixels
from jcnn.errors import UserError
from jcnn.fields import FilePath, PositiveReal, Real, Shape

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
RECORD = 1 + 3 * 32 * 32  # a label, then one plane each of red, green and blue
TRAIN_FILES = tuple(f"data_batch_{k}.bin" for k in range(1, 6))
TEST_FILES = ("test_batch.bin",)


class Cifar10(DataConfig):
    """``name = "cifar10"``: RGB images, 32x32, ten classes.

    Attributes:
        folder: where the six ``.bin`` files lie, seen from the data folder.
        mean: subtracted from each channel of pixels in [0, 1]; by default the training set's.
        standard_deviation: what the difference is divided by; by default the training set's.
    """

    name: Literal["cifar10"] = "cifar10"
    folder: FilePath = "cifar-10-batches-bin"
    mean: tuple[Real, Real, Real] = (0.4914, 0.4822, 0.4465)
    standard_deviation: tuple[PositiveReal, PositiveReal, PositiveReal] = (
        0.2470,
        0.2435,
        0.2616,
    )

    @property
    def input_shape(self) -> Shape:
        """Three channels of 32x32 pixels."""
        return (32, 32, 3)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The ten classes, as ``batches.meta.txt`` lists them."""
        return CLASSES

    def load(self) -> Dataset:
        """Read the six binary files."""
        return self.select(self._read_split(TRAIN_FILES), self._read_split(TEST_FILES))

    @property
    def scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """See :attr:`DataConfig.scale`."""
        return self.mean, self.standard_deviation

    def read_example(self, path: Path, *, invert: bool = False) -> np.ndarray:
        """Read a 32x32 image."""
        return self._normalize(read_pixels(path, self.input_shape, invert=invert))

    def _normalize(self, pixels: np.ndarray) -> np.ndarray:
        # in place: the training set takes 600 MB, and a second copy of it would too
        pixels -= np.array(self.mean, np.float32)
        pixels /= np.array(self.standard_deviation, np.float32)
        return pixels

    def _read_split(self, names: tuple[str, ...]) -> Split:
        folder = data_folder() / self.folder
        paths = [find_file(folder, name) or folder / name for name in names]
        records = [self._read_records(path) for path in paths]
        count = sum(map(len, records))
        x, y = np.empty((count, 32, 32, 3), np.float32), np.empty(count, np.int32)
        start = 0
        for part in records:
            planes = part[:, 1:].reshape(-1, 3, 32, 32)
            x[start : start + len(part)] = planes.transpose(0, 2, 3, 1)
            y[start : start + len(part)] = part[:, 0]
            start += len(part)
        x /= np.float32(255)
        return Split(self._normalize(x), y)

    def _read_records(self, path: Path) -> np.ndarray:
        if not path.exists():
            raise missing(self.name, path)
        content = read_content(path)
        if not content or len(content) % RECORD:
            raise UserError(
                f"{path} is cut short or no CIFAR-10 file: expected records of {RECORD} bytes, "
                f"found {len(content)} bytes, which is {len(content) / RECORD:.2f} records"
            )
        records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
        check_labels(path, records[:, 0], len(CLASSES))
        return records
