import gzip

import numpy as np
import pytest

from jcnn.data import Cifar10
from jcnn.data.cifar10 import RECORD, TEST_FILES, TRAIN_FILES
from jcnn.errors import UserError


@pytest.fixture
def cifar_folder(own_folder):
    folder = own_folder / "cifar-10-batches-bin"
    folder.mkdir()
    for name in TRAIN_FILES + TEST_FILES:
        records = np.random.default_rng(0).integers(0, 256, (4, RECORD), np.uint8)
        records[:, 0] %= 10
        (folder / name).write_bytes(records.tobytes())
    return folder


def test_planes_become_channels(cifar_folder):
    data = Cifar10(mean=(0, 0, 0), standard_deviation=(1, 1, 1)).load()
    assert data.train.x.shape == (20, 32, 32, 3)
    assert data.test.x.shape == (4, 32, 32, 3)
    record = np.fromfile(cifar_folder / "data_batch_1.bin", np.uint8)[:RECORD]
    assert data.train.y[0] == record[0]
    for channel in range(3):
        plane = record[1 + 1024 * channel : 1 + 1024 * (channel + 1)].reshape(32, 32)
        np.testing.assert_allclose(data.train.x[0, ..., channel], plane / 255, rtol=1e-6)


def test_each_channel_is_normalised(cifar_folder):
    plain = Cifar10(mean=(0, 0, 0), standard_deviation=(1, 1, 1)).load().test.x
    scaled = Cifar10(mean=(0.1, 0.2, 0.3), standard_deviation=(0.5, 0.25, 2)).load().test.x
    expected = (plain - [0.1, 0.2, 0.3]) / [0.5, 0.25, 2]
    np.testing.assert_allclose(scaled, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(RECORD - 1), "expected records of 3073 bytes, found 3072 bytes"),
        (b"", "found 0 bytes"),
        (b"\x0a" * RECORD, "example 0 the label 10: expected 0 to 9"),
    ],
)
def test_a_damaged_file_is_named(cifar_folder, content, message):
    (cifar_folder / "data_batch_3.bin").write_bytes(content)
    with pytest.raises(UserError, match=rf"data_batch_3\.bin.*{message}"):
        Cifar10().load()


def test_a_compressed_file_goes_before_a_plain_one_as_it_does_for_verify(cifar_folder):
    expected = Cifar10().load().train.x
    for name in TRAIN_FILES:
        path = cifar_folder / name
        (cifar_folder / f"{name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.write_bytes(b"damaged")
    np.testing.assert_array_equal(Cifar10().load().train.x, expected)


def test_a_missing_file_says_how_to_get_it(cifar_folder):
    (cifar_folder / "test_batch.bin").unlink()
    with pytest.raises(
        UserError, match=r"test_batch\.bin does not exist; `jcnn data fetch cifar10`"
    ):
        Cifar10().load()
