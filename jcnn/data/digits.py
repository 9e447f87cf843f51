"""The 1,797 handwritten digits, 8x8, that come with scikit-learn: real data without a download.

They are the test part of the UCI "Optical Recognition of Handwritten Digits"
(E. Alpaydin and C. Kaynak, 1998).
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from jcnn.data.base import Dataset, Split
from jcnn.data.image import GrayImages
from jcnn.data.selection import stratified_spread
from jcnn.fields import Shape

TEST_COUNT = 360
BRIGHTEST = 16  # a pixel counts the dark ones among 4x4 of the scanned form


class Digits(GrayImages):
    """``name = "digits"``: white digits on black, 8x8, classes 0 to 9.

    The test set is 360 of the 1,797, evenly spread over each class in the order of the data.
    Writers follow each other in that order, so each is in both sets: no test on unknown writers.
    """

    name: Literal["digits"] = "digits"

    @property
    def input_shape(self) -> Shape:
        """One gray channel of 8x8 pixels."""
        return (8, 8, 1)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The ten digits."""
        return tuple("0123456789")

    def load(self) -> Dataset:
        """Read the digits out of scikit-learn."""
        intensities, labels = read_embedded()
        pixels = (intensities.astype(np.float32) / BRIGHTEST)[..., np.newaxis]
        whole = Split(self.normalize(pixels), labels.astype(np.int32))
        test = stratified_spread(whole.y, TEST_COUNT)
        train = np.setdiff1d(np.arange(len(whole)), test)
        return self.select(whole.take(train), whole.take(test))


def read_embedded() -> tuple[np.ndarray, np.ndarray]:
    """The images of scikit-learn's digits, (1797, 8, 8), 0 to 16, and their labels, all uint8."""
    from sklearn.datasets import load_digits

    flat, labels = load_digits(return_X_y=True)
    return np.asarray(flat, np.uint8).reshape(-1, 8, 8), np.asarray(labels, np.uint8)
