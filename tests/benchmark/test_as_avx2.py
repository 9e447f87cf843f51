"""`scripts/as_avx2`: a library that asks the processor is told of AVX2 and not of AVX-512."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "as_avx2"
ASKS = """
#include <cpuid.h>
void ask(unsigned leaf, unsigned part, unsigned *found) {
  __cpuid_count(leaf, part, found[0], found[1], found[2], found[3]);
}
void undefined(void) { __builtin_trap(); }
"""
CALLS = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
if sys.argv[2] == "undefined":
    library.undefined()
for leaf, part in ((0, 0), (7, 0), (7, 1)):
    found = (ctypes.c_uint * 4)()
    library.ask(leaf, part, found)
    print(*found)
"""
AVX2, AVX512F, BFLOAT16 = 1 << 5, 1 << 16, 1 << 5

pytestmark = pytest.mark.skipif(
    platform.system() != "Linux"
    or platform.machine() != "x86_64"
    or platform.libc_ver()[0] != "glibc"
    or not all(map(shutil.which, ("cc", "objdump"))),
    reason="scripts/as_avx2 needs Linux on x86-64 with glibc, cc and objdump",
)


@pytest.fixture(scope="module")
def script():
    """The script as a module."""
    loader = SourceFileLoader("as_avx2", str(SCRIPT))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def held(script, tmp_path_factory):
    """A library that asks the processor, and the environment in which it is answered."""
    folder = tmp_path_factory.mktemp("as_avx2")
    library = folder / "libasks.so"
    words = ["cc", "-O1", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    subprocess.run(words, input=ASKS, text=True, check=True)
    return library, script.answered(library, folder)


def calls(library: Path, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", CALLS, str(library), *(words or ("ask",))]
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False
    )


def answers(ended: subprocess.CompletedProcess) -> list[list[int]]:
    assert ended.returncode == 0, ended.stderr
    return [list(map(int, line.split())) for line in ended.stdout.splitlines()]


def test_avx_512_is_hidden_and_avx2_is_not(held):
    library, environment = held
    vendor, features, more = answers(calls(library, {}))
    found = answers(calls(library, environment))
    assert found[0] == vendor
    assert not found[1][1] & AVX512F
    assert not found[2][0] & BFLOAT16
    assert found[1][1] & AVX2 == features[1] & AVX2
    for hidden, whole in ((found[1], features), (found[2], more)):
        assert all(a & b == a for a, b in zip(hidden, whole, strict=True))


def test_another_undefined_instruction_still_ends_the_program(held):
    library, environment = held
    ended = calls(library, environment, "undefined")
    assert ended.returncode == -signal.SIGILL


def test_a_library_that_does_not_ask_is_refused(script, tmp_path):
    silent = tmp_path / "libsilent.so"
    words = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(silent)]
    subprocess.run(words, input="int none(void) { return 0; }", text=True, check=True)
    with pytest.raises(SystemExit, match="no cpuid instruction"):
        script.sites(silent, tmp_path)


def test_a_program_that_there_is_not_gives_a_sentence(script, monkeypatch):
    monkeypatch.setattr(script, "answered", lambda library, folder: {})
    monkeypatch.setattr(sys, "argv", ["as_avx2", "no-such-program"])
    with pytest.raises(SystemExit, match="as_avx2: no-such-program can't be run"):
        script.main()


@pytest.mark.slow
def test_a_command_runs_as_on_a_processor_with_avx2(tmp_path):
    code = "from jcnn import processor; import jax.numpy as n; print(processor.instructions())"
    words = [str(SCRIPT), sys.executable, "-c", f"{code}; print((n.ones((8, 64)) @ n.ones(64))[0])"]
    ended = subprocess.run(
        [sys.executable, *words],
        env=os.environ | {"HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split()[-1] == "64.0"
    assert ended.stdout.split()[0] in ("AVX2", "x86_64")
