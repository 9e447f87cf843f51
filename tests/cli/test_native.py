"""``jcnn native``: compiled loops, built, checked, removed."""

from __future__ import annotations

import json
import shutil

import jax.numpy as jnp
import pytest

from jcnn import ops
from jcnn.cli.app import main
from jcnn.lowering.native import building, checking, library

pytestmark = pytest.mark.slow  # a compiler takes ten seconds


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache folder of its own, where nothing is built."""
    monkeypatch.setattr(building, "cache_folder", lambda: tmp_path)
    monkeypatch.setenv("JCNN_NATIVE", "1")
    return tmp_path / "native"


def compiles_into(content, monkeypatch):
    """Let a compiler need no time: it writes this."""

    def compiled(compiler, folder):
        made = folder / "library.so"
        made.write_bytes(content)
        return made

    monkeypatch.setattr(building, "_compiled", compiled)


@pytest.mark.skipif(
    not any(map(shutil.which, building.COMPILERS)), reason="there is no C++ compiler"
)
def test_it_builds_checks_and_removes(folder, capsys, monkeypatch):
    assert main(["native", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (library,) = folder.iterdir()
    assert found["library"] == str(library)
    compiles_into(library.read_bytes(), monkeypatch)
    unrounded = {name for name, case in checking.CASES.items() if not case.rounded}
    assert unrounded <= set(found["differences"]) <= {*checking.CASES, *checking.POOLS}
    monkeypatch.setenv("CXX", "no-such-compiler")  # nor is one needed any more
    assert main(["native"]) == 0
    output = capsys.readouterr()
    assert "built before; CXX is asked after `jcnn native --remove`" in output.err
    assert "chosen from now on where it costs least" in output.out
    monkeypatch.setattr(checking, "differences", lambda: {"native_patches": float("nan")})
    assert main(["native"]) == 2
    assert "native_patches off by nan" in capsys.readouterr().err
    assert not list(folder.iterdir())
    monkeypatch.delenv("CXX")
    assert main(["native"]) == 2  # built anew, and not given its place
    assert "native_patches off by nan" in capsys.readouterr().err
    assert not list(folder.iterdir())
    assert main(["native", "--remove"]) == 0
    assert "holds nothing to remove" in capsys.readouterr().out


def test_one_that_cannot_be_loaded_is_said_once_and_everything_goes_on(folder, capsys, monkeypatch):
    monkeypatch.setattr(library, "digest", lambda: "damaged")
    folder.mkdir()
    building.library_path().write_bytes(b"no library")
    with pytest.warns(RuntimeWarning, match="can't be loaded .* removes them"):
        assert not library.ready()
    assert not library.ready()
    assert ops.correlate(jnp.ones((1, 3, 3, 1)), jnp.ones((3, 3, 1, 1))).item() == 9
    assert main(["native"]) == 2
    assert "can't be loaded" in capsys.readouterr().err


def test_what_may_not_be_used_is_said(folder, capsys, monkeypatch):
    folder.mkdir()
    building.library_path().write_bytes(b"")
    monkeypatch.setenv("JCNN_NATIVE", "0")
    assert main(["native"]) == 2
    assert "expected JCNN_NATIVE not to be 0" in capsys.readouterr().err
    assert building.library_path().exists()


def test_an_interrupt_while_it_is_checked_leaves_nothing(folder, monkeypatch):
    compiles_into(b"", monkeypatch)
    monkeypatch.setattr(building, "_compiler", lambda: ("c++",))
    place = building.library_path()

    def interrupted():
        assert building.library_path().is_file()
        assert building.library_path() != place
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        building.build(check=interrupted)
    assert building.library_path() == place
    assert not list(folder.iterdir())


def test_a_compiler_that_there_is_not_is_one_sentence(folder, capsys, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert main(["native"]) == 2
    assert (
        "CXX names the compiler 'no-such-compiler', which there is not" in capsys.readouterr().err
    )
