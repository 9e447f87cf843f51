"""Checkpoints are whole, the newest undamaged one is taken, and a damaged one is set aside."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jcnn.errors import UserError
from jcnn.runs import checkpoint, files
from jcnn.runs.checkpoints import KEEP, Checkpoints
from jcnn.runs.place import Place

TREE = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "step": np.array(3, np.int32)}
LIKE = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), TREE)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three checkpoints, of steps 10, 20 and 30."""
    folder = tmp_path_factory.mktemp("template") / "checkpoints"
    with Checkpoints(folder) as checkpoints:
        for step in (10, 20, 30):
            checkpoints.save(Place(step), TREE, {"step": step, "best": None})
        checkpoints.wait()
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template, tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


def written(template: Path) -> list[str]:
    files = (path for path in (template / "30").rglob("*") if path.is_file())
    return sorted(path.relative_to(template / "30").as_posix() for path in files)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def zero(file: Path) -> None:
    size = file.stat().st_size
    file.write_bytes(bytes(min(64, size)) + file.read_bytes()[64:])


@pytest.mark.parametrize("harm", [cut, flip, zero, Path.unlink])
def test_every_damage_to_any_file_is_noticed_or_harmless(template, folder, harm):
    for name in written(template):
        harm(folder / "30" / name)
        wrong = checkpoint.damage(folder / "30")
        assert wrong is not None, name
        shutil.copyfile(template / "30" / name, folder / "30" / name)
    assert checkpoint.damage(folder / "30") is None


def test_the_newest_undamaged_one_is_taken_and_the_others_set_aside(folder, caplog):
    flip(folder / "30" / "record.json")
    (folder / "20" / "sha256.json").unlink()
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.newest() == Place(10)
        tree = checkpoints.restore(Place(10), LIKE)
    np.testing.assert_array_equal(tree["w"], TREE["w"])
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert re.search(r"'.*30' is damaged and was set aside as damaged-30-1: record\.json", said[0])
    assert "sha256.json is missing" in said[1]
    assert sorted(p.name for p in folder.iterdir()) == ["10", "damaged-20-1", "damaged-30-1"]


def test_hashes_of_less_than_all_are_no_hashes(folder):
    hashes = json.loads((folder / "30" / "sha256.json").read_text())
    (folder / "30" / "sha256.json").write_text(json.dumps({"record.json": hashes["record.json"]}))
    assert checkpoint.damage(folder / "30") == "sha256.json is not what was written"


def test_who_may_read_the_record_may_read_the_arrays(template):
    modes = {path.stat().st_mode & 0o777 for path in (template / "30").glob("*.*")}
    assert modes == {files.MODE}


def test_a_run_that_kept_no_checkpoint_has_no_damaged_one(folder):
    (folder / "empty").mkdir()
    with Checkpoints(folder / "empty", read_only=True) as checkpoints:
        for left, words in ((".9.partial", "is empty: the run has kept no checkpoint yet"),
                            ("damaged-9-1", "holds no undamaged checkpoint")):  # fmt: skip
            (folder / "empty" / left).mkdir()
            with pytest.raises(UserError, match=f"empty' {words}"):
                checkpoints.restore(checkpoints.newest(), TREE)
    with pytest.raises(UserError, match="does not exist: the run has kept no checkpoint yet"):
        Checkpoints(folder / "none", read_only=True)


def test_one_who_only_reads_leaves_damaged_ones_where_they_are(folder, caplog):
    flip(folder / "30" / "record.json")
    with Checkpoints(folder, read_only=True) as checkpoints:
        assert checkpoints.newest() == Place(20)
    assert (folder / "30").is_dir()
    assert "left alone" in caplog.text


def test_the_last_few_are_kept_and_the_best(folder):
    with Checkpoints(folder) as checkpoints:
        for step in (40, 50):
            checkpoints.save(Place(step), TREE, {"best": "20"})
        checkpoints.save(Place(50, evaluated=True), TREE, {"best": "20"})
        checkpoints.wait()
        assert list(map(str, checkpoints.places())) == ["50-evaluated", "50", "40", "20"]
        assert checkpoints.best() == Place(20)
        flip(folder / "20" / "record.json")
        assert checkpoints.best() is None
    assert KEEP == 3


def test_half_precision_and_random_keys_come_back_as_they_were(tmp_path):
    tree = {"m": jax.numpy.ones(3, jax.numpy.bfloat16) / 3, "key": jax.random.key(5)}
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(Place(1), tree, {})
        checkpoints.wait()
        back = checkpoints.restore(Place(1), jax.eval_shape(lambda: tree))
    assert back["m"].dtype == "bfloat16"
    np.testing.assert_array_equal(back["m"], tree["m"])
    assert jax.random.uniform(back["key"]) == jax.random.uniform(tree["key"])


def test_what_was_not_finished_is_cleared_away_and_never_taken(folder):
    shutil.copytree(folder / "30", folder / ".40.partial")
    with Checkpoints(folder, read_only=True) as checkpoints:
        assert checkpoints.newest() == Place(30)
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.newest() == Place(30)
    assert not (folder / ".40.partial").exists()


def test_one_of_another_model_is_refused_by_name(folder):
    other = {**LIKE, "w": jax.ShapeDtypeStruct((2, 4), np.float32)}
    with (
        Checkpoints(folder, read_only=True) as checkpoints,
        pytest.raises(UserError, match=r"another model: w is 2x3, float32, .* is 2x4, float32"),
    ):
        checkpoints.restore(Place(30), other)


# In a process of its own: in this one the limit would meet what pytest itself writes.
FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from jcnn.errors import UserError
from jcnn.runs.checkpoints import Checkpoints
from jcnn.runs.place import Place
with Checkpoints(Path(sys.argv[1])) as checkpoints:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    checkpoints.save(Place(40), {"w": np.zeros(6, np.float32)}, {})
    try:
        checkpoints.wait()
    except UserError as error:
        print(error)
    print(checkpoints.newest())
"""


def test_a_full_disk_is_one_sentence_and_leaves_the_others_whole(folder):
    """No file may grow beyond 100 bytes, as on a full disk."""
    program = [sys.executable, "-c", FULL, str(folder)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    said, newest = done.stdout.splitlines()
    assert re.fullmatch(r"checkpoint '.*40' can't be written: File too large", said)
    assert newest == "30"
    assert sorted(path.name for path in folder.iterdir()) == ["10", "20", "30"]


def test_a_vanished_folder_is_one_sentence_and_is_not_made_anew(folder):
    with Checkpoints(folder) as checkpoints:
        shutil.rmtree(folder)
        checkpoints.save(Place(40), TREE, {})
        with pytest.raises(UserError, match="can't be written: No such file or directory"):
            checkpoints.wait()
    assert not folder.exists()


def test_hashes_are_those_of_the_files(template):
    hashes = json.loads((template / "30" / "sha256.json").read_text())
    assert set(hashes) == set(written(template)) - {"sha256.json"}
