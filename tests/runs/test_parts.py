"""Checkpoints that several processes write, each the parts of arrays that it holds."""

from __future__ import annotations

import errno
import json
import os
import threading
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from jcnn.errors import UserError
from jcnn.runs import checkpoint
from jcnn.runs.checkpoints import Checkpoints
from jcnn.runs.parts import is_spread, joined, own_parts
from jcnn.runs.place import Place

WHOLE = np.arange(24, dtype=np.float32).reshape(4, 6)
LIKE = {"w": jax.ShapeDtypeStruct((4, 6), np.float32), "step": jax.ShapeDtypeStruct((), np.int32)}
LEFT = {"w@0,0": WHOLE[:, :2], "step": np.int32(7)}


class Spread:
    """An array of which this process holds some columns, the first ones also as a copy."""

    def __init__(self, *columns):
        self.shape, self.dtype = WHOLE.shape, WHOLE.dtype
        self.addressable_shards = [
            SimpleNamespace(index=(slice(None), slice(a, b)), replica_id=copy, data=WHOLE[:, a:b])
            for a, b, copy in columns
        ]


@pytest.fixture
def spread(monkeypatch):
    """Let such arrays be what those of several processes are."""
    monkeypatch.setattr("jcnn.runs.parts._is_spread", lambda a: isinstance(a, Spread))


def test_each_process_writes_the_parts_that_it_holds_once(spread):
    trees = (
        {"w": Spread((0, 2, 0), (0, 2, 1)), "step": np.int32(7)},
        {"w": Spread((2, 4, 0), (4, 6, 0)), "step": np.int32(7)},
    )
    first, second = (own_parts(tree, index) for index, tree in enumerate(trees))
    assert list(first) == ["step", "w@0,0"]
    assert list(second) == ["w@0,2", "w@0,4"]
    together = joined([first, second], LIKE)
    assert np.array_equal(together.pop("w"), WHOLE)
    assert together == {"step": 7}


FILLING_NOTHING = {
    "one is missing": [LEFT],
    "two overlap": [LEFT, {"w@0,1": WHOLE[:, 1:5]}],
    "another dtype": [LEFT, {"w@0,2": WHOLE[:, 2:].astype(np.int32)}],
    "beyond the end": [LEFT, {"w@0,4": WHOLE[:, 2:]}],
    "more axes": [LEFT, {"w@0,2,0": WHOLE[:, 2:]}],
    "of no expected array": [{"v@0": WHOLE}],
}


@pytest.mark.parametrize("files", FILLING_NOTHING.values(), ids=FILLING_NOTHING)
def test_parts_that_do_not_fill_an_array_are_not_taken_for_it(files):
    found = joined(files, LIKE)
    assert "w" not in found
    assert any("@" in name for name in found)


class Meeting:
    """One of two writers that are threads."""

    def __init__(self, index, barrier):
        self.index, self.count, self._barrier = index, 2, barrier

    def meet(self):
        self._barrier.wait(10)


def _saved(folder, trees):
    """Save in two threads; return what each one's wait gave."""
    barrier, said = threading.Barrier(2), [None, None]
    folder.mkdir()

    def save(index):
        writers = Meeting(index, barrier)
        with Checkpoints(folder, read_only=index > 0, writers=writers) as checkpoints:
            checkpoints.save(Place(3), trees[index], {"best": None})
            try:
                checkpoints.wait()
            except UserError as error:
                said[index] = str(error)

    threads = [threading.Thread(target=save, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return said


TREES = (
    {"w": Spread((0, 2, 0)), "step": np.int32(7)},
    {"w": Spread((2, 6, 0)), "step": np.int32(7)},
)


def test_what_two_have_written_one_reads_whole(spread, tmp_path):
    assert _saved(tmp_path / "checkpoints", TREES) == [None, None]
    hashes = json.loads((tmp_path / "checkpoints" / "3" / "sha256.json").read_text())
    assert {"arrays.safetensors", "arrays-1.safetensors"} < set(hashes)
    with Checkpoints(tmp_path / "checkpoints", read_only=True) as checkpoints:
        back = checkpoints.restore(checkpoints.newest(), LIKE)
        assert np.array_equal(back["w"], WHOLE)
        (tmp_path / "checkpoints" / "3" / "arrays-1.safetensors").unlink()
        assert checkpoints.newest() is None


def test_where_one_cannot_write_there_is_no_checkpoint_and_nobody_waits(
    spread, tmp_path, monkeypatch
):
    whole = checkpoint.save_file

    def full_for_the_second(arrays, file):
        if "-1" in file.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        whole(arrays, file)

    monkeypatch.setattr(checkpoint, "save_file", full_for_the_second)
    first, second = _saved(tmp_path / "checkpoints", TREES)
    assert first.endswith("can't be written: process 1 has not written its part")
    assert second.endswith("can't be written: No space left on device")
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_an_array_of_this_process_alone_is_whole():
    devices = np.array(jax.devices()[:1])
    sharding = jax.NamedSharding(jax.sharding.Mesh(devices, "x"), jax.P("x"))
    tree = {"w": jax.device_put(WHOLE, sharding)}
    assert not is_spread(tree)
    assert list(own_parts(tree)) == ["w"]
