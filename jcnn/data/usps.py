"""The zip-code digits of the U.S. Postal Service: 7,291 + 2,007, 16x16 (Y. LeCun et al., 1989)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from jcnn.data.base import Dataset, Split
from jcnn.data.folder import data_folder, find_file, missing, read_content
from jcnn.data.image import GrayImages, read_pixels
from jcnn.errors import UserError
from jcnn.fields import FilePath, Shape

COLUMNS = 1 + 16 * 16


class Usps(GrayImages):
    """``name = "usps"``: white digits on black, 16x16, classes 0 to 9, the split of the 1989 paper.

    Attributes:
        folder: where ``zip.train`` and ``zip.test`` lie, seen from the data folder; gzipped or not.
        mean: subtracted from the published values, which go from -1 (black) to 1 (white).
        standard_deviation: what the difference is divided by.
    """

    name: Literal["usps"] = "usps"
    folder: FilePath = "usps"

    @property
    def input_shape(self) -> Shape:
        """One gray channel of 16x16 pixels."""
        return (16, 16, 1)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The ten digits."""
        return tuple("0123456789")

    def load(self) -> Dataset:
        """Read the two text files."""
        return self.select(self._read_split("zip.train"), self._read_split("zip.test"))

    def read_example(self, path: Path, *, invert: bool = False) -> np.ndarray:
        """Read a 16x16 image of a white digit on black (``invert`` for black on white)."""
        pixels = read_pixels(path, self.input_shape, invert=invert)
        return self.normalize(pixels * np.float32(2) - np.float32(1))

    def _read_split(self, stem: str) -> Split:
        folder = data_folder() / self.folder
        path = find_file(folder, stem)
        if path is None:
            raise missing(self.name, folder / stem, ".gz")
        rows = read_rows(path)
        values = rows[:, 1:].reshape(-1, *self.input_shape)
        return Split(self.normalize(values), rows[:, 0].astype(np.int32))


def read_rows(path: Path) -> np.ndarray:
    """Read a file of rows, each a label and 256 values in [-1, 1], into float32 (N, 257).

    Raises:
        UserError: a row is not of that form; the message names its line.
    """
    content = read_content(path)
    lines = content.splitlines()
    if not lines:
        raise UserError(f"{path} is empty: expected a row of {COLUMNS} numbers for each digit")
    if not content.endswith(b"\n"):
        raise UserError(f"{path} is cut short: its last line, {len(lines)}, has no end")
    rows = np.empty((len(lines), COLUMNS), np.float32)
    for number, line in enumerate(lines, start=1):
        rows[number - 1] = _read_row(path, number, line)
    return rows


def _read_row(path: Path, number: int, line: bytes) -> np.ndarray:
    fields = line.split()
    place = f"{path}, line {number}"
    if len(fields) != COLUMNS:
        raise UserError(f"{place}: expected a label and 256 values, found {len(fields)} fields")
    try:
        row = np.array(fields, np.bytes_).astype(np.float32)
    except ValueError as error:
        raise UserError(f"{place}: expected numbers only, but {error}") from None
    if row[0] not in range(10):
        raise UserError(f"{place}: expected a label from 0 to 9, found {row[0]:g}")
    wrong = np.flatnonzero(~(np.abs(row) <= 1)[1:])  # so written, it finds NaN as well
    if len(wrong):
        raise UserError(
            f"{place}: expected values from -1 to 1, found {row[1 + wrong[0]]:g} as value "
            f"{1 + wrong[0]}"
        )
    return row
