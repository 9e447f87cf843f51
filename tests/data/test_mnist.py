import gzip

import numpy as np
import pytest
from PIL import Image

from jcnn.data import Mnist
from jcnn.errors import UserError
from tests.data.formats import idx_bytes


def test_files_are_read_gzipped_or_not(mnist_folder):
    data = Mnist(mean=0, standard_deviation=1).load()
    assert data.train.x.shape == (20, 28, 28, 1)
    assert data.test.x.shape == (10, 28, 28, 1)
    np.testing.assert_allclose(data.train.x[:, 3, 4, 0], np.arange(20) / 255, rtol=1e-6)
    np.testing.assert_array_equal(data.train.y, np.arange(20) % 10)


def test_normalisation_is_configuration(mnist_folder):
    plain = Mnist(mean=0, standard_deviation=1).load().train.x
    np.testing.assert_allclose(
        Mnist(mean=0.5, standard_deviation=0.5).load().train.x, 2 * plain - 1, atol=1e-6
    )


def test_another_folder_of_the_same_format_is_read(mnist_folder):
    mnist_folder.rename(mnist_folder.parent / "fashion")
    assert len(Mnist(folder="fashion").load().train) == 20


def test_a_missing_data_set_says_how_to_get_it(own_folder):
    with pytest.raises(
        UserError, match=r"train-images-idx3-ubyte.*`jcnn data fetch mnist`.*JCNN_DATA"
    ):
        Mnist().load()


def damage(path, change):
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("train-images-idx3-ubyte", lambda b: b[:-1], "cut short.*20 x 28 x 28 = 15680.*15679"),
        ("train-images-idx3-ubyte", lambda b: b + b"x", "too long.*15680.*15681"),
        ("train-images-idx3-ubyte", lambda b: b[:7], "cut short.*16 bytes, found 7"),
        ("train-images-idx3-ubyte", lambda b: b"", "cut short.*found 0"),
        ("train-images-idx3-ubyte", lambda b: b"\1" + b[1:], "magic number 2051, found 16779267"),
        ("train-labels-idx1-ubyte", lambda b: b[:-1] + b"\x0a", "example 19 the label 10.*0 to 9"),
        (
            "train-labels-idx1-ubyte",
            lambda b: idx_bytes(np.zeros(3, np.uint8)),
            "3 labels: expected 20, one for each image of train-images-idx3-ubyte",
        ),
        (
            "train-images-idx3-ubyte",
            lambda b: idx_bytes(np.zeros((20, 8, 9), np.uint8)),
            "images of 8x9: expected 28x28",
        ),
        (
            "train-images-idx3-ubyte",
            lambda b: idx_bytes(np.zeros((0, 28, 28), np.uint8)),
            "holds no image",
        ),
        ("t10k-images-idx3-ubyte.gz", lambda b: b[:-12], "cut short: its gzip stream"),
        ("t10k-images-idx3-ubyte.gz", lambda b: b[:10], "cut short: its gzip stream"),
        ("t10k-labels-idx1-ubyte.gz", lambda b: b"no gzip at all", "not an intact gzip file"),
        (
            "t10k-images-idx3-ubyte.gz",
            lambda b: b[:30] + b"\xff\xff\xff" + b[33:],
            "not an intact gzip file",
        ),
        (
            "t10k-labels-idx1-ubyte.gz",
            lambda b: gzip.compress(gzip.decompress(b)[:-2]),
            "cut short: its header announces 10 = 10 bytes of data, found 8",
        ),
    ],
)
def test_a_damaged_file_is_named(mnist_folder, file, change, message):
    damage(mnist_folder / file, change)
    with pytest.raises(UserError, match=message) as raised:
        Mnist().load()
    assert str(mnist_folder / file) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_folder_in_place_of_a_file_is_named(mnist_folder):
    (mnist_folder / "train-labels-idx1-ubyte").unlink()
    (mnist_folder / "train-labels-idx1-ubyte").mkdir()
    with pytest.raises(UserError, match="train-labels-idx1-ubyte cannot be read: Is a directory"):
        Mnist().load()


def test_the_published_files_are_read(data_folder):
    if not (data_folder / "mnist").is_dir():
        pytest.skip("no MNIST there")
    data = Mnist(train_count=100).load()
    assert len(data.test) == 10_000
    assert np.bincount(data.test.y).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]


def test_digits_stand_in_the_middle_of_the_canvas(mnist_folder):
    config = Mnist(canvas_size=34, mean=0.5)
    data, plain = config.load(), Mnist(mean=0.5).load()
    assert config.input_shape == (34, 34, 1)
    for split in ("train", "test"):
        x = getattr(data, split).x
        np.testing.assert_array_equal(x[:, 3:31, 3:31], getattr(plain, split).x)
        black = np.float32(-0.5) / np.float32(config.standard_deviation)
        for border in (x[:, :3], x[:, 31:], x[:, :, :3], x[:, :, 31:]):
            np.testing.assert_allclose(border, black, rtol=1e-6)


def test_test_digits_move_right_down_left_and_up_in_turn(mnist_folder):
    config = {"canvas_size": 35, "mean": 0, "standard_deviation": 1}
    middle, moved = Mnist(**config).load(), Mnist(test_shift_pixels=2, **config).load()
    np.testing.assert_array_equal(moved.train.x, middle.train.x)
    np.testing.assert_array_equal(moved.test.y, middle.test.y)
    for k, (down, right) in enumerate([(0, 2), (2, 0), (0, -2), (-2, 0)] * 2):
        expected = np.roll(middle.test.x[k], (down, right), (0, 1))
        np.testing.assert_array_equal(moved.test.x[k], expected)


def test_a_digit_is_not_moved_beyond_the_canvas(mnist_folder):
    with pytest.raises(ValueError, match=r"test_shift_pixels <= 3, the room that canvas_size = 35"):
        Mnist(canvas_size=35, test_shift_pixels=4)
    with pytest.raises(ValueError, match="test_shift_pixels <= 0"):
        Mnist(test_shift_pixels=1)
    with pytest.raises(ValueError, match="canvas_size"):
        Mnist(canvas_size=27)


def test_an_example_is_put_on_the_canvas(mnist_folder, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    read = Mnist(canvas_size=40).read_example(tmp_path / "a.png")
    assert read.shape == (40, 40, 1)
    np.testing.assert_array_equal(read[6:34, 6:34], Mnist().read_example(tmp_path / "a.png"))


def test_validation_is_a_split_of_its_own_on_the_canvas(mnist_folder):
    data = Mnist(canvas_size=32, validation=6).load()
    assert data.validation is not None
    assert (len(data.train), len(data.validation), len(data.test)) == (14, 6, 10)
    assert data.validation.x.shape == (6, 32, 32, 1)
    assert data.validation.x.max() > data.validation.x.min()
