"""Small data sets in the publishers' formats, written to a folder of the test's own."""

import gzip

import numpy as np
import pytest

from tests.data.formats import idx_bytes, write_image


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """An empty data folder that the data sets look into."""
    monkeypatch.setenv("JCNN_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def mnist_folder(own_folder):
    """MNIST of 20 + 10 images: image k is k everywhere, its label k mod 10; the tests' gzipped."""
    folder = own_folder / "mnist"
    folder.mkdir()
    for prefix, count in (("train", 20), ("t10k", 10)):
        k = np.arange(count, dtype=np.uint8)
        images, labels = np.tile(k[:, None, None], (1, 28, 28)), k % 10
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            content = idx_bytes(array)
            if prefix == "t10k":
                (folder / f"{prefix}-{name}-ubyte.gz").write_bytes(gzip.compress(content))
            else:
                (folder / f"{prefix}-{name}-ubyte").write_bytes(content)
    return folder


@pytest.fixture
def photographs(own_folder):
    """Two classes of five training and three test images of 12x10 pixels."""
    folder = own_folder / "photographs"
    for split, count in (("train", 5), ("test", 3)):
        for c, name in enumerate(("cat", "dog")):
            for k in range(count):
                write_image(folder / split / name / f"{k}.png", seed=100 * c + k)
    return folder
