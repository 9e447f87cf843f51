"""What a file may say, and a first file for a folder of one's own."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from jcnn.cli import main
from jcnn.config import load_experiment
from jcnn.data import ImageFolder
from jcnn.errors import UserError
from jcnn.inspection.catalogue import layer_entries, optimizer_entries, schedule_entries
from jcnn.inspection.own_folder import look
from jcnn.inspection.proposal import propose

flat = pytest.mark.skipif(
    "test_share" not in ImageFolder.model_fields, reason="needs data.test_share"
)


def test_every_layer_has_a_line_and_every_field_its_meaning():
    entries = layer_entries()
    assert {"conv", "dense", "residual", "relu_max_pool"} <= set(entries)
    assert all(len(entry["line"]) > 8 for entry in entries.values())
    conv = entries["conv"]["fields"]
    assert conv["features"]["default"] == "required"
    assert conv["strides"] == {
        "default": "1",
        "meaning": "Step between neighbouring outputs.",
    }
    assert conv["initializer"]["default"] == '"he_normal"'
    for name, entry in entries.items():
        assert not [key for key, field in entry["fields"].items() if not field["meaning"]], name
    assert entries["residual"]["fields"]["shortcut"]["default"] == "[]"


def test_descriptions_are_whole_and_without_marks(capsys):
    assert main(["layers", "local_response_norm"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "y = x / (offset + scale · Σ x²)^power, the sum over `size` channels" in said
    for command in ("layers", "optimizers", "schedules"):
        assert main([command, "--json"]) == 0
        said = capsys.readouterr().out
        assert "``" not in said, command
        assert not re.search(r":\w+:`", said), command


def test_optimizers_and_schedules_have_defaults():
    sgd = optimizer_entries()["sgd"]["fields"]
    assert sgd["learning_rate"]["default"] == "required"
    assert sgd["nesterov"]["default"] == "false"
    assert schedule_entries()["cosine_decay_schedule"]["fields"]["alpha"]["default"] == "0.0"


@pytest.mark.parametrize(
    ("command", "name"),
    [("layers", "conv"), ("optimizers", "adamw"), ("schedules", "linear_schedule")],
)
def test_the_commands_list_all_or_one(capsys, command, name):
    assert main([command]) == 0
    assert f"{name}: " in capsys.readouterr().out
    assert main([command, name]) == 0
    assert capsys.readouterr().out.startswith(f"{name}: ")
    assert main([command, "--json"]) == 0
    assert name in json.loads(capsys.readouterr().out)
    assert main([command, "zzz"]) == 2
    assert f"{command}: unknown 'zzz'" in capsys.readouterr().err


def test_what_stands_before_and_after_an_optimizer_is_listed_below(capsys):
    assert main(["optimizers"]) == 0
    above, below = capsys.readouterr().out.split("\nTransformations, entries of before and after")
    assert "adamw: " in above
    assert "reduce_on_plateau (in optimizer.after): " in below
    assert "clip_by_global_norm (in optimizer.before or optimizer.after): " in below
    assert "apply_every" not in below  # which is refused in both
    for name in ("reduce_on_plateau", "fixed_norms"):
        assert main(["optimizers", name]) == 0
        said = capsys.readouterr().out
        assert said.startswith(f"{name} (in optimizer.after): ")
        assert "  layers = not set" in said
    assert main(["optimizers", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["fixed_norms"]["stands_in"] == ["after"]
    assert main(["optimizers", "lbfgs"]) == 2
    assert "lbfgs needs the loss along a line" in capsys.readouterr().err


def test_what_a_file_says_of_a_mask_is_told(capsys):
    for name, key in (
        ("adamw", "mask"),
        ("muon", "weight_decay_mask"),
        ("add_decayed_weights", "mask"),
    ):
        assert main(["optimizers", name]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert re.search(rf' {key} = .*? "kernels", the weights without biases', said), name
    fields = optimizer_entries()["muon"]["fields"]
    assert "convolutions" in fields["muon_weight_dimension_numbers"]["meaning"]


def test_the_key_that_every_layer_takes_is_told(capsys):
    for arguments in (["layers"], ["layers", "conv"]):
        assert main(arguments) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        assert last.startswith("every layer takes name, too: what its parameters are called")


def photographs(
    parent: Path, classes: str, count: int = 12, size: tuple[int, ...] = (40, 49, 3)
) -> None:
    for label in classes.split():
        (parent / label).mkdir(parents=True)
        for number in range(count):
            pixels = np.random.default_rng(number).integers(0, 255, size, np.uint8)
            Image.fromarray(pixels).save(parent / label / f"{number}.png")


def test_a_split_folder_gives_a_file_that_trains_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "pets" / "train", "cat dog")
    photographs(tmp_path / "pets" / "val", "cat dog", count=3)
    assert main(["init", "pets"]) == 0
    assert "24 images, 2 classes, train and val: wrote pets.toml" in capsys.readouterr().out
    text = Path("pets.toml").read_text()
    assert text.startswith("# A first experiment on pets")
    experiment = load_experiment("pets.toml")
    assert experiment.data.class_names == ("cat", "dog")
    assert experiment.input_shape == (32, 32, 3)
    assert len(experiment.data.stream().labels("test")) == 6
    assert experiment.training.batch_size == 4
    assert main(["init", "pets"]) == 2
    assert "there already" in capsys.readouterr().err


@flat
def test_a_flat_folder_is_split_by_a_share(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "pets", "cat dog bird")
    assert main(["init", "pets"]) == 0
    assert load_experiment("pets.toml").data.test_share == 0.2


@flat
def test_a_training_folder_by_itself_is_split_by_a_share(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "pets" / "train", "cat dog")
    assert main(["init", "pets"]) == 0
    data = load_experiment("pets.toml").data
    assert data.class_names == ("cat", "dog")
    assert len(data.stream().labels("test")) == 5  # a fifth of 24
    Path("pets/train/bird").mkdir()
    with pytest.raises(UserError, match=r"train/bird is a class without images"):
        look(Path("pets"))


@flat
@pytest.mark.slow
def test_the_whole_way_can_be_gone_in_the_folder_itself(tmp_path, monkeypatch, capsys):
    photographs(tmp_path / "pets", "cat dog")
    monkeypatch.chdir(tmp_path / "pets")
    assert main(["init"]) == 0
    for name in ("pets", "pets-2"):
        assert main(["train", "pets.toml", "--set", "training.epochs=2"]) == 0
        assert Path("runs", name, "summary.json").exists()
    assert main(["init", "--out", "again.toml"]) == 0
    capsys.readouterr()
    main(["data", "check", "."])
    assert not [line for line in capsys.readouterr().out.splitlines() if "runs" in line]
    assert main(["predict", "runs/pets", "."]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 24


def test_a_folder_may_be_called_anything(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "my\npets\x01", "cat dog", 6)
    assert main(["init", "my\npets\x01", "--out", "pets.toml"]) == 0
    assert "wrote pets.toml" in capsys.readouterr().out
    assert load_experiment("pets.toml").data.path == tmp_path / "my\npets\x01"


@pytest.mark.slow
def test_a_validation_folder_is_measured_beside_the_test_set(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for split, count in (("train", 12), ("valid", 3), ("test", 2)):
        photographs(tmp_path / "my pets" / split, "cat dog", count)
    assert main(["init", "my pets"]) == 0
    said = capsys.readouterr().out
    assert "2 classes, train, valid and test: wrote my pets.toml" in said
    assert "next: jcnn train 'my pets.toml'" in said
    assert main(["train", "my pets.toml", "--set", "training.epochs=1", "--out", "run"]) == 0
    assert "is not used" not in capsys.readouterr().out
    rows = map(json.loads, Path("run/metrics.jsonl").read_text().splitlines())
    assert [row["split"] for row in rows] == ["train", "validation", "test"]
    Path("old.toml").write_text(
        Path("my pets.toml").read_text().replace('validation_folder = "valid"\n', "")
    )
    assert main(["train", "old.toml", "--set", "training.epochs=1"]) == 0
    assert "pets/valid is not used" in capsys.readouterr().out


def proposed(folder: Path):
    (folder.parent / "own.toml").write_text(propose(look(folder)))
    return load_experiment(folder.parent / "own.toml")


@pytest.mark.parametrize(("count", "batch_size"), [(2, 2), (10, 4), (40, 16), (200, 32)])
def test_few_files_make_several_steps_to_an_epoch(tmp_path, count, batch_size):
    photographs(tmp_path / "own", "cat dog", count, (8, 8, 3))
    experiment = proposed(tmp_path / "own")
    lists = experiment.data.lists()
    assert experiment.training.batch_size == batch_size <= len(lists.train)
    assert np.bincount(lists.test.labels).tolist() == [max(1, count // 5)] * 2


def test_a_class_of_one_file_is_too_few(tmp_path):
    photographs(tmp_path / "own", "cat dog", 1)
    with pytest.raises(UserError, match=r"own/cat' holds a single file: expected 2 images or more"):
        look(tmp_path / "own")


def test_small_squares_are_taken_as_they_are_and_gray_ones_gray(tmp_path):
    photographs(tmp_path / "digits", "one two", size=(28, 28))
    assert proposed(tmp_path / "digits").input_shape == (28, 28, 1)
    photographs(tmp_path / "wide", "one two", size=(28, 40, 3))
    assert proposed(tmp_path / "wide").input_shape == (24, 24, 3)
    photographs(tmp_path / "mixed" / "x", "one two", size=(28, 28))
    photographs(tmp_path / "mixed", "three four", size=(28, 28, 3))
    (tmp_path / "mixed" / "x" / "one").rename(tmp_path / "mixed" / "one")
    shutil.rmtree(tmp_path / "mixed" / "x")
    assert proposed(tmp_path / "mixed").input_shape == (28, 28, 3)


def test_what_training_would_refuse_is_named(tmp_path):
    photographs(tmp_path / "own", "cat dog")
    (tmp_path / "own" / "cat" / "notes.txt").write_text("?")
    with pytest.raises(UserError, match=r"cat/notes\.txt is a stray file"):
        look(tmp_path / "own")
    (tmp_path / "own" / "cat" / "notes.txt").rename(tmp_path / "own" / "notes.txt")
    with pytest.raises(UserError, match=r"own/notes\.txt is a stray file"):
        look(tmp_path / "own")
    (tmp_path / "own" / "notes.txt").unlink()
    (tmp_path / "own" / "eel").mkdir()
    with pytest.raises(UserError, match=r"own/eel is a class without images"):
        look(tmp_path / "own")


def test_a_test_folder_without_classes_is_no_split(tmp_path):
    photographs(tmp_path / "own" / "train", "cat dog")
    photographs(tmp_path / "own" / "val", "cat dog", 2)
    (tmp_path / "own" / "test").mkdir()
    shutil.copy(tmp_path / "own" / "val" / "cat" / "0.png", tmp_path / "own" / "test")
    found = look(tmp_path / "own")
    assert (found.test_folder, found.validation_folder) == ("val", None)


@pytest.mark.parametrize("ending", [".wav", ".flac", ".caf"])
def test_recordings_are_looked_at(tmp_path, ending):
    for label in ("yes", "no"):
        (tmp_path / label).mkdir()
        for number in range(4):
            soundfile.write(tmp_path / label / f"{number}{ending}", np.zeros(8000), 8000)
    found = look(tmp_path)
    assert (found.kind, found.count, found.sample_rate) == ("recordings", 8, 8000)
    text = propose(found)
    assert 'name = "sound_folder"' in text
    assert "frame_count = 96" in text or "frame_count = 104" in text


def test_a_folder_that_is_none_of_these(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    photographs(tmp_path / "lonely", "cat")
    Path("text").mkdir()
    Path("text/a").mkdir()
    Path("text/a/words.txt").write_text("no image")
    for folder, words in (
        ("absent", "no folder"),
        ("empty", "0 classes"),
        ("lonely", "1 class:"),
        ("text", "0 classes"),
    ):
        assert main(["init", folder]) == 2
        assert words in capsys.readouterr().err
    assert not list(tmp_path.glob("*.toml"))


def test_completion_is_offered(capsys):
    assert main(["--help"]) == 0
    assert "--show-completion" in capsys.readouterr().out
