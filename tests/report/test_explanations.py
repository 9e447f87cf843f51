"""Why a file is what it is said to be: gradients that add up, pictures of them, the command."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image

from jcnn.cli import main
from jcnn.config import Experiment
from jcnn.export.preprocessing import preprocessing
from jcnn.report import attribution
from jcnn.report.explanations import black_input
from jcnn.training import load_trained
from jcnn.views import views
from tests.tolerances import tolerance

pytestmark = pytest.mark.usefixtures("mathematics")


@pytest.fixture
def images(tmp_path, monkeypatch) -> Path:
    """A folder with two images and a broken one beside it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


GRAY = {"name": "image_folder", "folder": "f", "classes": 2, "image_size": 8, "resize": 8}


@pytest.mark.parametrize(
    ("data", "side"),
    [
        ({"name": "digits"}, 8),
        ({"name": "mnist", "canvas_size": 40}, 28),
        ({"name": "usps"}, 16),
        ({"name": "cifar10"}, 32),
        (GRAY, 8),
        (GRAY | {"channels": 1}, 8),
    ],
)
def test_black_is_what_a_black_image_is_read_as(data, side, tmp_path):
    Image.new("L", (side, side)).save(tmp_path / "black.png")
    settings = {"optimizer": {"name": "sgd", "learning_rate": 0.1}, "training": {"epochs": 1}}
    layers = [{"type": "flatten"}, {"type": "dense", "features": data.get("classes", 10)}]
    experiment = Experiment.model_validate(
        {"name": "x", "data": data, "layers": layers, **settings}
    )
    expected = experiment.data.read_example(tmp_path / "black.png")
    np.testing.assert_allclose(black_input(experiment), expected, rtol=1e-6)
    means = f"- {experiment.data.scale[0][0] if expected.shape[-1] == 1 else '('}"
    assert means in preprocessing(experiment)


@pytest.mark.slow
def test_integrated_gradients_add_up_to_the_difference_of_the_outputs(trained):
    loaded = load_trained(trained)
    model, weights = loaded.experiment.model, loaded.state.evaluated
    x = loaded.experiment.data.load().test.x[0]
    best, gradient, integrated = attribution(loaded.experiment, *weights)(x)
    outputs = np.asarray(model.apply(*weights, np.stack([x, np.zeros_like(x)]))[0])
    assert best == outputs[0].argmax()
    assert integrated.sum() == pytest.approx(outputs[0, best] - outputs[1, best], rel=0.02)
    assert gradient.shape == x.shape
    step = 1e-2 * gradient / np.abs(gradient).max()
    moved = np.asarray(model.apply(*weights, np.stack([x + step, x - step]))[0])[:, best]
    assert moved[0] - moved[1] == pytest.approx(2 * (gradient * step).sum(), rel=0.05)


def test_what_is_explained_is_the_mean_over_the_views_that_predict_takes(trained):
    loaded = load_trained(trained)
    several = {"mirrored_evaluation": True, "shifted_evaluation": 1}
    training = loaded.experiment.training.model_copy(update=several)
    experiment = loaded.experiment.model_copy(update={"training": training})
    seen = views(True, 1)
    x = experiment.data.load().test.x[0]
    _, gradient, _ = attribution(experiment, *loaded.state.evaluated)(x)
    model, weights = experiment.model, loaded.state.evaluated

    def mean(x):
        return sum(model.apply(*weights, view.of(x[None]))[0][0] for view in seen) / len(seen)

    best = mean(x).argmax()
    expected = jax.grad(lambda x: mean(x)[best])(x)
    np.testing.assert_allclose(gradient, expected, **tolerance("float32"))


def test_pictures_are_written_for_each_file(trained, images, capsys):
    assert main(["predict", str(trained), str(images), "--explain", "why"]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 2
    names = sorted(path.name for path in Path("why").iterdir())
    kinds = [f"{k}-{k}-{kind}.png" for k in range(2) for kind in ("gradient", "integrated")]
    assert names == kinds
    with Image.open(Path("why") / names[0]) as picture:
        assert min(picture.size) >= 320


def test_the_most_probable_classes_in_lines_csv_and_json(trained, images, capsys):
    assert main(["predict", str(trained), str(images), "--top", "3"]) == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert line.count("%") == 3
    assert main(["predict", str(trained), str(images), "--top", "2", "--csv"]) == 0
    head, first, second = csv.reader(io.StringIO(capsys.readouterr().out))
    assert head == ["file", "class", "probability", "class_2", "probability_2"]
    assert first[1] in line
    assert float(second[2]) >= float(second[4])
    assert main(["predict", str(trained), str(images / "0.png"), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["predictions"]
    assert found["class"] == first[1]


def test_standard_input_is_a_file_too(trained, images, monkeypatch, capsys):
    content = (images / "1.png").read_bytes()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    assert main(["predict", str(trained), "-"]) == 0
    assert capsys.readouterr().out.startswith("-  ")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    assert main(["predict", str(trained), "-", "-"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"no image")))
    assert main(["predict", str(trained), "-"]) == 1
    assert capsys.readouterr().err.startswith("jcnn: - ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["images", "--csv", "--json"], "exclude"),
        (["images", "--explain", "file/why"], "--explain"),
    ],
)
def test_a_wrong_argument_is_named(trained, images, capsys, arguments, words):
    Path("file").write_text("")
    assert main(["predict", str(trained), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_an_empty_folder_is_named_as_what_could_not_be_read(trained, images, capsys):
    Path("empty").mkdir()
    assert main(["predict", str(trained), "empty"]) == 1
    assert "empty" in capsys.readouterr().err
