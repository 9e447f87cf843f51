"""A new user's hour: the commands of docs/guides/own_data.md alone, on files like one's own."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path

import jax
import numpy as np
import pytest

from jcnn.cli import main
from jcnn.config import to_toml
from tests.data.formats import tone, write_colours
from tests.optional import optional

soundfile, reads_sound = optional("soundfile")
GUIDE = Path(__file__).parents[1] / "docs" / "guides" / "own_data.md"
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> list[str]:
    return [body for tag, body in BLOCK.findall(GUIDE.read_text(encoding="utf-8")) if tag == kind]


def commands(word: str) -> list[list[str]]:
    """The command lines of the guide that hold a word, in their order."""
    lines = (line for body in blocks("") for line in body.splitlines())
    return [shlex.split(line)[1:] for line in lines if line.startswith("jcnn ") and word in line]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder of files as people have them, and the guide's experiments."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JCNN_CACHE", str(tmp_path / "cache"))
    animals, fine, sounds = blocks("toml")
    Path("animals.toml").write_text(animals)
    Path("fine.toml").write_text(to_toml(merged(tomllib.loads(animals), tomllib.loads(fine))))
    Path("sounds.toml").write_text(sounds)
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)


def merged(document, changes):
    return {
        k: {**v, **changes.get(k, {})} if isinstance(v, dict) else v for k, v in document.items()
    }


def run(arguments: list[str], capsys) -> str:
    capsys.readouterr()
    code = main(arguments)
    captured = capsys.readouterr()
    assert code == 0, f"jcnn {shlex.join(arguments)}: {captured.err}"
    return captured.out


def write_labels():
    """The guide's table, gone on to the end."""
    (begun,) = (body for body in blocks("") if body.startswith("file,label"))
    kinds = {"cat": "furred", "dog": "furred", "owl": "feathered"}
    rows = [f"{c}/{k:03}.jpg,{kind}" for c, kind in kinds.items() for k in range(40)]
    assert set(begun.splitlines()[1:]) <= set(rows)
    Path("photos/labels.csv").write_text("\n".join(["file,label", *rows]))


def accuracy(run_folder: str) -> float:
    return json.loads(Path(run_folder, "summary.json").read_text())["test"]["accuracy"]


@pytest.mark.slow
def test_photographs_a_table_of_labels_and_fine_tuning(home, capsys):
    write_colours(home / "photos", {"cat": 40, "dog": 40, "owl": 40}, size=(40, 32))
    done = commands("photos") + commands("animals") + commands("fine.toml")
    order = [line for line in commands("") if line in done]
    assert len(order) == 9
    for arguments in order:
        if any("labels.csv" in word for word in arguments):
            write_labels()
        out = run(arguments, capsys)
        if arguments[0] == "predict":
            assert [line.split()[1] for line in out.splitlines()] == ["cat", "owl"]
    assert accuracy("runs/animals") >= 0.9
    assert accuracy("runs/fine") >= 0.9
    assert accuracy("runs/table") >= 0.8
    names = json.loads(Path("runs/table/data.json").read_text())["classes"]
    assert names == ["feathered", "furred"]
    # its names are the run's own: the folder may go
    (home / "photos").rename(home / "elsewhere")
    out = run(["predict", "runs/animals", "elsewhere/dog/001.jpg"], capsys)
    assert out.split()[1] == "dog"


@reads_sound
@pytest.mark.slow
def test_recordings(home, capsys):
    for c, name in enumerate(("high", "low")):
        (home / "sounds" / name).mkdir(parents=True)
        for k in range(5):
            noise = np.random.default_rng((c, k)).normal(size=4000) * 0.01
            samples = tone(2000 - 1500 * c) + noise
            soundfile.write(home / "sounds" / name / f"{k}.wav", samples, 8000)
    order = commands("sounds")
    assert len(order) == 3
    outs = [run(arguments, capsys) for arguments in order]
    assert outs[-1].split()[1] == "high"
    assert accuracy("runs/sounds") == 1.0
