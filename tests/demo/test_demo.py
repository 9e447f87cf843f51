"""The page to draw on or speak to: what it says, whom it refuses, and that it goes on serving."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from jcnn.cli import main
from jcnn.config import load_experiment
from jcnn.demo import centred, trimmed
from jcnn.demo.drawing import SIDE
from jcnn.demo.server import serve
from jcnn.training import load_trained, train
from tests.demo.serving import ask, needs_server, served, stroke

pytestmark = [needs_server, pytest.mark.slow]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def port(trained):
    yield from served(trained)


def goes_on(port: int) -> bool:
    status, _, body = ask(port, stroke())
    return status == 200 and json.loads(body)["class"] in "0123456789"


@pytest.mark.slow
def test_a_drawing_is_named_and_shown_forward_and_back(port):
    status, _, body = ask(port, stroke())
    found = json.loads(body)
    assert status == 200
    assert sum(found["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert found["class"] == max(found["probabilities"], key=found["probabilities"].get)
    assert [layer["name"] for layer in found["layers"]] == ["conv_1", "relu_max_pool_1", "dense_1"]
    pictures = [found["input"], found["gradient"], *(layer["delta"] for layer in found["layers"])]
    assert all(uri.startswith("data:image/png") for uri in pictures)


def test_the_page_runs_nothing_of_elsewhere(port):
    status, headers, body = ask(port, None, "/", "GET")
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    assert b"https://" not in body


@pytest.mark.parametrize("size", [0, 1, SIDE * SIDE - 1, SIDE * SIDE + 1, 10_000_000])
def test_a_body_of_another_size_is_refused(port, size):
    try:
        status, _, body = ask(port, bytes(size))
    except (ConnectionError, http.client.HTTPException):
        status, body = 400, b"bytes"  # cut off while it was still sending
    assert status == 400
    assert b"bytes" in body
    assert goes_on(port)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_other_hosts_and_origins_are_refused(port, headers, expected):
    asked = (("/look", "POST", stroke()), ("/image", "POST", stroke()), ("/", "GET", None))
    for path, method, body in asked:
        assert ask(port, body, path, method, **headers)[0] == expected
    assert goes_on(port)


def test_the_port_that_browsers_leave_out_is_this_host_s(trained):
    """At port 80 neither Host nor Origin names it."""
    serving = served(trained, 80)
    port = next(serving)
    for name in ("127.0.0.1", "127.0.0.1:80", "localhost"):
        assert ask(port, None, "/", "GET", Host=name)[0] == 200
        assert ask(port, stroke(), Host=name, Origin=f"http://{name}")[0] == 200
    assert ask(port, stroke(), Host="localhost", Origin="http://evil.example")[0] == 403
    assert ask(port, stroke(), Host="evil.example")[0] == 403
    next(serving, None)


@pytest.mark.parametrize(
    ("path", "method", "expected"),
    [
        ("/../../etc/passwd", "GET", 404),
        ("/%2e%2e/%2e%2e/etc/passwd", "GET", 404),
        ("/look", "GET", 405),
        ("/image", "GET", 405),
        ("/", "DELETE", 405),
    ],
)
def test_there_is_nothing_else_to_ask_for(port, path, method, expected):
    status, _, body = ask(port, None, path, method)
    assert status == expected
    assert b"root:" not in body
    assert goes_on(port)


def test_what_is_no_request_and_what_never_ends_is_survived(port):
    for sent in (b"\x00\xff\r\n\r\n", b"POST /look HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % port):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(sent)
    assert goes_on(port)


def test_many_at_once_are_answered_or_told_to_wait(port):
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda _: ask(port, stroke())[0], range(48)))
    assert set(answers) <= {200, 503}
    assert 200 in answers
    assert goes_on(port)


def test_a_drawing_is_put_in_the_middle():
    drawing = np.zeros((SIDE, SIDE), np.uint8)
    drawing[0:40, 0:20] = 255
    frame = centred(drawing, (28, 28), 4 / 28)
    rows, columns = np.nonzero(frame)
    assert (rows.min(), rows.max() + 1) == (4, 24)
    assert (columns.min(), columns.max() + 1) == (9, 19)


def test_of_a_drawing_too_faint_nothing_is_left():
    drawing = np.zeros((SIDE, SIDE), np.uint8)
    drawing[0, 0] = drawing[-1, -1] = 30
    assert not centred(drawing, (8, 8)).any()


TONES = """
[data]
name = "sound_folder"
folder = "{folder}"
classes = 2
[data.front_end]
sample_rate = 4000
high_hz = 2000.0
mel_bands = 8
frame_count = 16
normalization = "none"
[optimizer]
name = "adam"
learning_rate = 0.01
[training]
epochs = 4
batch_size = 8
[[layers]]
type = "conv"
features = 4
window = 3
[[layers]]
type = "relu"
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
features = 2
"""


def tone(hertz: float, rate: int, random: np.random.Generator) -> np.ndarray:
    """A quarter of a second, after some silence and before some."""
    times = np.arange(rate // 4) / rate
    sound = 0.3 * np.sin(2 * np.pi * hertz * random.uniform(0.9, 1.1) * times)
    ends = (np.zeros(int(random.uniform(0.1, 0.3) * rate)) for _ in range(2))
    return np.concatenate([next(ends), sound, next(ends)]).astype(np.float32)


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """The folder of a run that tells low tones from high ones."""
    soundfile = pytest.importorskip("soundfile", reason="needs soundfile")
    folder, random = tmp_path_factory.mktemp("tones"), np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 4)):
        for name, hertz in (("high", 1500), ("low", 300)):
            place = folder / "sounds" / split / name
            place.mkdir(parents=True)
            for i in range(count):
                samples = trimmed(tone(hertz, 4000, random), 4000)
                soundfile.write(place / f"{i}.wav", samples, 4000)
    (folder / "tones.toml").write_text(TONES.format(folder=folder / "sounds"))
    train(load_experiment(folder / "tones.toml"), folder / "run")
    for name, hertz in (("high", 1500), ("low", 300)):  # of another rate, as a microphone's
        samples = np.tile(trimmed(tone(hertz, 48000, random), 48000), 8)
        soundfile.write(folder / f"{name}.wav", samples, 48000)
    return folder


@pytest.fixture(scope="module")
def ear(tones):
    yield from served(tones / "run")


@pytest.mark.parametrize(("hertz", "name"), [(300, "low"), (1500, "high")])
def test_a_recording_is_named(ear, hertz, name):
    sound = tone(hertz, 4000, np.random.default_rng(1))
    status, _, body = ask(ear, sound.astype("<f4").tobytes())
    assert status == 200
    assert json.loads(body)["class"] == name
    assert [layer["name"] for layer in json.loads(body)["layers"]] == [
        "conv_1",
        "relu_1",
        "dense_1",
    ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", b"4 bytes each"),
        (b"123", b"4 bytes each"),
        (np.full(100, np.nan, "<f4").tobytes(), b"no numbers"),
        (bytes(4 * 4000 * 4 + 4), b"at most"),
    ],
)
def test_what_is_no_recording_is_refused(ear, body, reason):
    status, _, answer = ask(ear, body)
    assert (status, reason in answer) == (400, True)
    assert ask(ear, bytes(400))[0] == 200  # silence is a recording


def test_one_speaks_and_watches(browser, ear, tones):
    tab, problems = browser.new_page(), []
    tab.on("console", lambda message: problems.append(message.text))
    tab.goto(f"http://127.0.0.1:{ear}/")
    for name in ("low", "high"):
        tab.locator("#file").set_input_files(tones / f"{name}.wav")
        tab.locator("#said", has_text=f"{name},").wait_for()
    assert tab.locator("#layers figure").count() == 6
    tab.locator("#file").set_input_files(Path(__file__))
    tab.locator("#said", has_text="no recording").wait_for()
    tab.locator("#record").click()
    tab.locator("#said", has_text="no microphone").wait_for()
    assert not problems
    tab.close()


def test_a_microphone_is_heard(browser, ear, tones):
    """The browser's own microphone, which plays a file again and again."""
    with browser.browser_type.launch(
        executable_path=shutil.which("chromium") or shutil.which("chromium-browser"),
        args=[
            "--no-sandbox",
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={tones / 'high.wav'}",
        ],
    ) as listening:
        tab = listening.new_page()
        tab.goto(f"http://127.0.0.1:{ear}/")
        tab.locator("#record").click()
        tab.wait_for_timeout(1500)
        tab.locator("#record").click()
        tab.locator("#said", has_text="high,").wait_for()


def test_silence_is_cut_off_both_ends():
    sound = np.concatenate([np.zeros(400), np.ones(800), np.zeros(240), np.ones(80), np.zeros(10)])
    assert trimmed(sound, 8000).shape == (1120,)
    assert trimmed(np.zeros(300), 8000).shape == (300,)
    assert trimmed(np.ones(7), 8000).shape == (7,)


def test_wrong_arguments_are_named(trained, tmp_path, capsys, monkeypatch):
    assert main(["demo", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["demo", str(trained), "--port", str(taken.getsockname()[1])]) == 2
        assert "--port" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["demo", str(trained)]) == 2
    assert "jcnn[demo]" in capsys.readouterr().err


def test_a_network_whose_weights_are_not_numbers_is_not_served(trained, capsys, monkeypatch):
    learned = load_trained(trained)
    broken = jax.tree.map(lambda a: a * np.nan, learned.state.params)
    learned = replace(learned, state=learned.state._replace(params=broken))
    monkeypatch.setattr("jcnn.demo.server.load_trained", lambda folder: learned)
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: None)
    assert main(["demo", str(trained)]) == 2
    said = capsys.readouterr()
    assert "that are not numbers: its training diverged" in said.err
    assert said.out == ""


@pytest.mark.skipif(os.name != "posix", reason="of the systems that wait with a port")
def test_a_port_that_was_served_a_moment_ago_is_served_again(trained, monkeypatch):
    """And on Windows, where it would let two programs have one port, nothing asks for that."""
    uvicorn = pytest.importorskip("uvicorn")
    found = []

    def run(self, sockets):
        found.append(sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR))

    monkeypatch.setattr(uvicorn.Server, "run", run)
    serve(trained)
    monkeypatch.setattr("jcnn.demo.server.POSIX", False)
    serve(trained)
    assert [bool(each) for each in found] == [True, False]


# A 3, as one draws it: two arcs, in shares of the pad.
THREE = [
    *[(0.5 + 0.22 * np.sin(t), 0.30 - 0.17 * np.cos(t)) for t in np.linspace(-1.2, 3.0, 14)],
    *[(0.5 + 0.26 * np.sin(t), 0.66 - 0.19 * np.cos(t)) for t in np.linspace(0.1, 4.4, 16)],
]


def draw(browser, port: int):
    tab, problems = browser.new_page(), []
    tab.on("console", lambda message: problems.append(message.text))
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.goto(f"http://127.0.0.1:{port}/")
    box = tab.locator("#pad").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in THREE]
    tab.mouse.move(*places[0])
    tab.mouse.down()
    for place in places[1:]:
        tab.mouse.move(*place)
    tab.mouse.up()
    tab.locator("#said[aria-busy=false]").wait_for()
    assert not problems
    return tab


def test_one_draws_and_watches(browser, port):
    tab = draw(browser, port)
    assert tab.locator("#layers figure").count() == 6
    assert tab.locator("#said").inner_text().endswith("%")
    tab.locator("#clear").click()
    assert tab.locator("#layers figure").count() == 0
    tab.close()


def test_a_drawing_that_was_cleared_is_asked_about_no_more(browser, port):
    """Clear while an answer is pending leaves nothing to be asked after it."""
    tab, held = browser.new_page(), []
    tab.route("**/look", lambda route: held.append(route))
    tab.goto(f"http://127.0.0.1:{port}/")
    tab.locator("#pad").click()
    tab.locator("#pad").click(position={"x": 9, "y": 9})
    tab.locator("#clear").click()
    held[0].continue_()
    tab.locator("#said[aria-busy=false]").wait_for(timeout=5000)
    assert len(held) == 1
    assert tab.locator("#said").inner_text().startswith("Draw something")
    assert tab.locator("#rows tr").count() == 0
    tab.close()


@pytest.mark.slow
def test_a_three_on_the_mnist_network_is_a_three(browser, data_folder, tmp_path):
    if not (data_folder / "mnist").is_dir():
        pytest.skip("no MNIST there: jcnn data fetch mnist")
    config = Path("configs") / "mnist.toml"
    small = {"data.train_count": 4000, "training.epochs": 2, "training.batch_size": 32}
    train(load_experiment(ROOT / config, small), tmp_path / "run")
    serving = served(tmp_path / "run")
    tab = draw(browser, next(serving))
    assert tab.locator("#said").inner_text().startswith("3,")
    tab.close()
    next(serving, None)
