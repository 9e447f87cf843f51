"""The page of a network of images: drawings and images, each prepared as the page says."""

from __future__ import annotations

import base64
import http.client
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jcnn.config import load_experiment
from jcnn.demo import Drawer
from jcnn.demo.drawing import MOST_BYTES, SIDE
from jcnn.training import Step, Trained, predict, train
from tests.browser import fits, worst_contrast
from tests.demo.serving import ask, needs_server, served, stroke

pytestmark = [needs_server, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
PHOTOS = """
[data]
name = "image_folder"
folder = "{folder}"
classes = 2
image_size = 16
resize = 20
channels = {channels}
[optimizer]
name = "adam"
learning_rate = 0.01
[training]
epochs = 1
batch_size = 2
mirrored_evaluation = true
shifted_evaluation = 1
[[layers]]
type = "conv"
features = 4
window = 3
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
features = 2
"""
# A file dropped on the page.
DROP = """(bytes) => {
  const carried = new DataTransfer();
  carried.items.add(new File([new Uint8Array(bytes)], "a.png", {type: "image/png"}));
  pad.dispatchEvent(new DragEvent("drop", {dataTransfer: carried, bubbles: true}));
}"""


def shown(uri: str) -> np.ndarray:
    """The pixels of a picture on the page."""
    with Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))) as picture:
        return np.asarray(picture)


@pytest.fixture(scope="module")
def port(trained):
    yield from served(trained)


def photographed(folder: Path, channels: int) -> Path:
    """Return the folder of a run that saw images of 40x30 pixels."""
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            place = folder / "photos" / split / name
            place.mkdir(parents=True)
            for i in range(4):
                pixels = random.integers(0, 256, (30, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{i}.png")
    config = folder / "photos.toml"
    config.write_text(PHOTOS.format(folder=folder / "photos", channels=channels))
    train(load_experiment(config), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return photographed(tmp_path_factory.mktemp("photos"), channels=3)


@pytest.fixture(scope="module")
def eye(photos):
    yield from served(photos)


def test_an_image_is_prepared_as_predict_prepares_it(eye, photos):
    path = photos.parent / "photos" / "test" / "dog" / "1.png"
    for address, invert in (("/image", False), ("/image/inverted", True)):
        status, _, body = ask(eye, path.read_bytes(), address)
        (expected,) = predict(photos, [path], invert=invert)
        assert status == 200
        found = json.loads(body)["probabilities"]
        assert found == pytest.approx(expected["probabilities"], abs=1e-5)
    assert shown(json.loads(body)["input"]).shape == (16, 16, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_drawing_is_an_image_like_any_for_a_network_of_photographs(channels, tmp_path):
    experiment = load_experiment(photographed(tmp_path, channels) / "experiment.toml")
    drawer = Drawer(Trained(experiment, Step(experiment).init(), 0))
    ink = np.zeros((SIDE, SIDE), np.uint8)
    ink[:, : SIDE // 2] = 255
    seen = shown(drawer.drawn(ink.tobytes())["input"])
    assert seen.shape == ((16, 16) if channels == 1 else (16, 16, 3))
    assert seen[:, :7].min() > 250  # neither scaled nor centred
    assert seen[:, 9:].max() < 5


def test_a_digit_drawn_for_a_larger_canvas_is_as_large_as_those_on_it():
    experiment = load_experiment(ROOT / "configs" / "mnist.toml", {"data.canvas_size": 40})
    drawer = Drawer(Trained(experiment, Step(experiment).init(), 0))
    rows, columns = np.nonzero(shown(drawer.drawn(stroke())["input"]) > 128)
    assert np.ptp(rows) + 1 == 20
    assert (rows.min(), rows.max() + 1) == (10, 30)
    assert abs(columns.mean() - 19.5) <= 1


def test_the_page_says_how_its_drawings_are_prepared(port, eye):
    digits, photographs = (ask(each, None, "/", "GET")[2].decode() for each in (port, eye))
    assert "centred, as the training images are" in digits
    assert "must have 8 × 8 pixels" in digits
    assert "centred, as" not in photographs
    assert "must have" not in photographs
    for page in (digits, photographs):
        assert 'type="file"' in page


@pytest.mark.parametrize(
    ("address", "body", "reason"),
    [
        ("/image", b"", b"not an image"),
        ("/image", b"<svg onload='alert(1)'/>", b"not an image"),
        ("/image", b"\x89PNG\r\n\x1a\n" + bytes(20), b"the file"),
        ("/image", bytes(MOST_BYTES + 1), b"bytes at most"),
        ("/image/inverted", b"GIF89a", b"the file"),
    ],
)
def test_what_is_no_image_is_refused(eye, address, body, reason):
    try:
        status, _, answer = ask(eye, body, address)
    except (ConnectionError, http.client.HTTPException):
        status, answer = 400, reason  # cut off while it was still sending
    assert (status, reason in answer) == (400, True)
    assert b"tmp" not in answer
    assert ask(eye, stroke())[0] == 200


def test_an_image_of_another_size_is_refused_where_the_size_matters(port, photos):
    path = photos.parent / "photos" / "test" / "dog" / "1.png"
    status, _, answer = ask(port, path.read_bytes(), "/image")
    assert status == 400
    assert b"the file is an image of 40x30 pixels: expected 8x8" in answer


def test_one_shows_images_and_draws_over_them(browser, eye, photos):
    tab, problems = browser.new_page(), []
    tab.on("console", lambda message: problems.append(message.text))
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.goto(f"http://127.0.0.1:{eye}/")
    path = photos.parent / "photos" / "test" / "dog" / "1.png"
    tab.locator("#file").set_input_files(path)
    tab.locator("#layers figure").first.wait_for()
    best = predict(photos, [path])[0]["class"]
    assert tab.locator("#said").inner_text().startswith(f"{best},")
    light = "() => pad.getContext('2d').getImageData(56, 56, 1, 1).data[0] > 0"
    tab.wait_for_function(light)  # the image is shown, too
    tab.locator("#clear").click()
    assert not tab.evaluate(light)
    assert tab.locator("#layers figure").count() == 0
    tab.evaluate(DROP, list(path.read_bytes()))
    tab.locator("#layers figure").first.wait_for()
    box = tab.locator("#pad").bounding_box()
    tab.mouse.click(box["x"] + 5, box["y"] + 5)
    assert not tab.evaluate(light)  # what is drawn is drawn on black
    tab.locator("#said[aria-busy=false]").wait_for()
    assert not problems
    tab.locator("#file").set_input_files(Path(__file__))
    tab.locator("#said", has_text="the file is not an image").wait_for()
    assert tab.locator("#layers figure").count() == 0
    tab.close()


def test_a_file_can_be_chosen_again_once_another_thing_was_shown(browser, eye, photos):
    """A browser tells of no choice that is the one before."""
    tab = browser.new_page()
    tab.goto(f"http://127.0.0.1:{eye}/")
    path = photos.parent / "photos" / "test" / "dog" / "1.png"
    left = "() => document.getElementById('file').value"
    for drop in (False, True):
        tab.locator("#file").set_input_files(path)
        tab.locator("#layers figure").first.wait_for()
        assert tab.evaluate(left).endswith("1.png")
        if drop:
            tab.evaluate(DROP, list(path.read_bytes()))
        else:
            tab.locator("#pad").click()
        assert tab.evaluate(left) == ""
    tab.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1200])
def test_the_page_fits_and_can_be_read(browser, port, eye, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    tab = context.new_page()
    for each in (port, eye):
        tab.goto(f"http://127.0.0.1:{each}/")
        assert fits(tab)
        ratio, where = worst_contrast(tab)
        assert ratio >= 4.5, where
    context.close()
