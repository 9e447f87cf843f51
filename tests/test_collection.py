"""The same tests, in the same order, whenever and wherever they are collected."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# They start processes, train or compile much.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]

# A year later, in a file system that lists the other way round, without the optional packages.
ELSEWHERE = """
import os, sys, time

now, scandir, listdir = time.time, os.scandir, os.listdir
time.time = lambda: now() + 31_536_000


class Backwards:
    def __init__(self, *path):
        with scandir(*path) as entries:
            self.entries = iter(sorted(entries, key=lambda entry: entry.name, reverse=True))

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.entries)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        self.entries = iter(())


os.scandir = Backwards
os.listdir = lambda *path: sorted(listdir(*path), reverse=True)


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "flax", "equinox", "onnx", "optuna"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Missing())
"""
COLLECT = """
import sys, pytest

sys.exit(pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]))
"""


def collecting(program, **environment):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")} | environment
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_no_clock_hash_seed_machine_or_file_system_decides_what_is_collected(tmp_path):
    runs = [
        collecting(COLLECT, PYTHONHASHSEED="1"),
        collecting(
            ELSEWHERE + COLLECT, PYTHONHASHSEED="2", HOME=str(tmp_path), JCNN_DATA=str(tmp_path)
        ),
    ]
    here, elsewhere = (
        [line for line in run.communicate()[0].splitlines() if "::" in line] for run in runs
    )
    assert [run.returncode for run in runs] == [0, 0]
    assert len(here) > 2000
    assert here == elsewhere
    assert len(set(here)) == len(here)
