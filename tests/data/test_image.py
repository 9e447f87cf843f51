import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from jcnn.data import Cifar10, Digits, Mnist, Usps
from jcnn.data.image import _QUIET, read_pixels
from jcnn.errors import UserError
from tests.optional import optional

GRAY = (4, 3, 1)


def save(path, pixels, mode=None):
    Image.fromarray(pixels, mode).save(path) if mode else Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def ramp():
    return np.arange(12, dtype=np.uint8).reshape(4, 3) * 20


def test_gray_pixels_go_from_0_to_1(tmp_path, ramp):
    pixels = read_pixels(save(tmp_path / "a.png", ramp), GRAY)
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels[..., 0], ramp / 255, rtol=1e-6)


def test_inverting_exchanges_black_and_white(tmp_path, ramp):
    path = save(tmp_path / "a.png", ramp)
    np.testing.assert_allclose(
        read_pixels(path, GRAY, invert=True), 1 - read_pixels(path, GRAY), rtol=1e-6
    )


def test_colour_becomes_gray_by_luma(tmp_path):
    red = np.zeros((4, 3, 3), np.uint8)
    red[..., 0] = 255
    pixels = read_pixels(save(tmp_path / "a.png", red), GRAY)
    np.testing.assert_allclose(pixels, 0.299, atol=2e-3)


def test_gray_becomes_three_equal_channels(tmp_path, ramp):
    pixels = read_pixels(save(tmp_path / "a.png", ramp), (4, 3, 3))
    np.testing.assert_allclose(pixels, np.repeat(ramp[..., None] / 255, 3, axis=2), rtol=1e-6)


def test_16_bits_become_8(tmp_path, ramp):
    pixels = read_pixels(save(tmp_path / "a.png", ramp.astype(np.uint16) * 257), GRAY)
    np.testing.assert_allclose(pixels[..., 0], ramp / 255, rtol=1e-6)


def test_transparent_becomes_black(tmp_path):
    white = np.full((4, 3, 4), 255, np.uint8)
    white[0, :, 3] = 0
    pixels = read_pixels(save(tmp_path / "a.png", white), GRAY)
    assert (pixels[0] == 0).all()
    assert (pixels[1:] == 1).all()


@pytest.mark.parametrize(
    ("config", "size", "black", "white"),
    [
        (Digits(), 8, 0, 1),
        (Usps(), 16, -1, 1),
        (Mnist(), 28, -0.1307 / 0.3081, 0.8693 / 0.3081),
    ],
    ids=["digits", "usps", "mnist"],
)
def test_an_example_is_normalised_as_the_training_data(tmp_path, config, size, black, white):
    pixels = np.zeros((size, size), np.uint8)
    pixels[0] = 255
    example = config.read_example(save(tmp_path / "a.png", pixels))
    assert example.shape == config.input_shape
    np.testing.assert_allclose(example[0], white, rtol=1e-5)
    np.testing.assert_allclose(example[1:], black, rtol=1e-5)


def test_a_colour_example_keeps_its_channels(tmp_path):
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[..., 2] = 255
    example = Cifar10().read_example(save(tmp_path / "a.png", pixels))
    expected = (np.array([0, 0, 1]) - Cifar10().mean) / Cifar10().standard_deviation
    np.testing.assert_allclose(example[5, 6], expected, rtol=1e-5)


def test_another_size_names_both(tmp_path, ramp):
    with pytest.raises(UserError, match=r"a\.png is an image of 3x4 pixels: expected 28x28"):
        Mnist().read_example(save(tmp_path / "a.png", ramp))


def test_what_is_no_image_is_named(tmp_path, ramp):
    text = tmp_path / "notes.png"
    text.write_text("not an image")
    broken = save(tmp_path / "broken.png", np.random.default_rng(0).bytes(784) and ramp)
    broken.write_bytes(broken.read_bytes()[:45])
    for path, message in (
        (text, "is not an image"),
        (broken, "is a broken image"),
        (tmp_path / "none.png", "does not exist"),
        (tmp_path, "is a folder"),
        (text / "a.png", "cannot be read: not a directory"),
    ):
        with pytest.raises(UserError, match=message) as raised:
            read_pixels(path, GRAY)
        assert str(path) in str(raised.value)


def test_an_enormous_image_is_refused_without_a_warning(tmp_path, ramp, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError, match=r"a\.png has more pixels .* JCNN_MAX_MEGAPIXELS"):
            read_pixels(save(tmp_path / "a.png", ramp), GRAY)


def test_threads_leave_one_filter_of_warnings(tmp_path, ramp):
    path = save(tmp_path / "a.png", ramp)
    with warnings.catch_warnings(), ThreadPoolExecutor(8) as pool:
        before = list(warnings.filters)
        list(pool.map(lambda _: read_pixels(path, GRAY), range(40)))
        assert [each for each in warnings.filters if each not in before] == [_QUIET]
        assert warnings.filters.count(_QUIET) == 1


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_gray_of_a_png_is_black(tmp_path, bits):
    white, path = (1 << bits) - 1, tmp_path / "a.png"
    values = [white, white - 1, 0, white]
    if bits == 16:
        row = struct.pack(">4H", *values)
    else:
        packed = int("".join(f"{value:0{bits}b}" for value in values).ljust(8, "0"), 2)
        row = packed.to_bytes(max(1, bits // 2), "big")
    write_png(path, bits, 0, row, struct.pack(">H", white))
    found = read_pixels(path, (1, 4, 1))[0, :, 0]
    np.testing.assert_allclose(found, [0, (white - 1) / white, 0, 0], atol=1 / 255)


def test_the_transparent_colour_of_16_bits_is_black(tmp_path):
    colour = (65535, 300, 0)
    row = struct.pack(">12H", *colour, *colour[::-1], *colour, 0, 65535, 0)
    write_png(tmp_path / "a.png", 16, 2, row, struct.pack(">3H", *colour))
    found = read_pixels(tmp_path / "a.png", (1, 4, 3))[0] * 255
    np.testing.assert_allclose(found, [[0, 0, 0], [0, 1, 255], [0, 0, 0], [0, 255, 0]], atol=1e-4)


def write_png(path, bits, kind, row, transparent):
    """Write a PNG of one row of four pixels."""

    def chunk(name, content):
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, bits, kind, 0, 0, 0))
        + chunk(b"tRNS", transparent)
        + chunk(b"IDAT", zlib.compress(b"\0" + row))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("values", [[0, 100000], [-5, 3]])
def test_integers_that_are_no_brightness_are_named(tmp_path, values):
    """They were cut to what 16 bits hold."""
    Image.fromarray(np.array([values], np.int32)).save(tmp_path / "a.tif")
    low, high = values
    with pytest.raises(
        UserError, match=rf"a\.tif has integers from {low} to {high} as pixels: expected 0 to 65535"
    ):
        read_pixels(tmp_path / "a.tif", (1, 2, 1))


def test_integers_of_32_bits_are_read_as_16(tmp_path):
    Image.fromarray(np.array([[0, 65535]], np.int32)).save(tmp_path / "a.tif")
    assert read_pixels(tmp_path / "a.tif", (1, 2, 1)).ravel().tolist() == [0, 1]


def test_floats_from_0_to_1_are_as_bright_as_bytes(tmp_path, ramp):
    """A TIFF of floats from 0 to 1 was all black."""
    expected = read_pixels(save(tmp_path / "a.png", ramp), GRAY)
    for scale in (1, 255):
        floats = Image.fromarray((ramp / 255 * scale).astype(np.float32))
        floats.save(tmp_path / "f.tif")
        np.testing.assert_array_equal(read_pixels(tmp_path / "f.tif", GRAY), expected)


@pytest.mark.parametrize("value", [-0.1, 256.0, np.nan])
def test_floats_that_are_no_brightness_are_named(tmp_path, ramp, value):
    floats = (ramp / 255).astype(np.float32)
    floats[0, 0] = value
    Image.fromarray(floats).save(tmp_path / "f.tif")
    with pytest.raises(UserError, match=r"f\.tif has floats from .* expected 0 to 1, or 0 to 255"):
        read_pixels(tmp_path / "f.tif", GRAY)


def test_marks_of_a_camera_that_cannot_be_written_again_are_no_hindrance(tmp_path, ramp):
    """A signed rational in EXIF ended in struct.error."""
    marks = Image.Exif()
    marks[0x0112] = 6  # orientation
    path = tmp_path / "a.jpg"
    Image.fromarray(np.repeat(np.repeat(ramp, 8, 0), 8, 1)).save(path, exif=marks.tobytes())
    content = path.read_bytes()
    tag = content.index(bytes.fromhex("0112"), content.index(b"Exif"))
    # two entries instead of one: the second, an exposure bias, is of a type that claims to be long
    damaged = bytearray(content)
    damaged[tag + 2 : tag + 4] = (3).to_bytes(2, "big")
    path.write_bytes(bytes(damaged))
    assert read_pixels(path, (24, 32, 1)).shape == (24, 32, 1)


def test_damaged_marks_turn_nothing(tmp_path, ramp):
    path = tmp_path / "a.jpg"
    Image.fromarray(ramp).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(30))
    assert read_pixels(path, GRAY).shape == GRAY


def test_the_largest_image_that_is_read_can_be_set(tmp_path, ramp, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    path = save(tmp_path / "a.png", ramp)
    monkeypatch.setenv("JCNN_MAX_MEGAPIXELS", "1")
    assert read_pixels(path, GRAY).shape == GRAY
    monkeypatch.setenv("JCNN_MAX_MEGAPIXELS", "many")
    with pytest.raises(UserError, match="JCNN_MAX_MEGAPIXELS is 'many'"):
        read_pixels(path, GRAY)


@pytest.mark.parametrize("ending", [".jfif", ".JPG", ".avif", ".webp", ".tiff", ".ppm"])
def test_formats_are_read_by_their_usual_names(tmp_path, ending):
    pixels = np.full((16, 16, 3), 200, np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"a{ending}", quality=95)
    read = read_pixels(tmp_path / f"a{ending}", (16, 16, 3))
    np.testing.assert_allclose(read, 200 / 255, atol=0.02)


def test_an_image_of_a_telephone_is_read_or_says_what_reads_it(tmp_path, monkeypatch):
    heif, _ = optional("pillow_heif")
    if heif is None:
        (tmp_path / "a.heic").write_bytes(b"?")
        with pytest.raises(UserError, match=r"a\.heic is a HEIF image.*pip install 'jcnn\[heif\]'"):
            read_pixels(tmp_path / "a.heic", GRAY)
        return
    heif.register_heif_opener()
    Image.fromarray(np.full((16, 16, 3), 200, np.uint8)).save(tmp_path / "a.heic")
    np.testing.assert_allclose(read_pixels(tmp_path / "a.heic", (16, 16, 3)), 200 / 255, atol=0.02)
