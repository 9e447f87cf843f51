"""The suite is the same list of tests for every process that collects it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# A fixture of the second process: another time, and another order of directory entries.
ELSEWHERE = """
import os, random, sys, time
now, listdir, scandir = time.time, os.listdir, os.scandir
time.time = lambda: now() + 86_401.5
os.listdir = lambda *a: sorted(listdir(*a), reverse=True)
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


def collect(program: list[str], hash_seed: str, home: Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "HOME": str(home)}
    arguments = ["--collect-only", "-q", "-n", "0", "-p", "no:cacheprovider", "-m", ""]
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_collections_are_equal(tmp_path):
    """At other times, under other hash seeds, in another home: the workers' lists must agree."""
    first = collect(["-m", "pytest"], "1", tmp_path)
    time.sleep(1.1)  # what depends on the second must differ
    second = collect(["-c", ELSEWHERE], "2", tmp_path / "none")
    lists = [process.communicate()[0].splitlines() for process in (first, second)]
    assert first.returncode == second.returncode == 0
    ids = [[line for line in lines if "::" in line] for lines in lists]
    assert len(ids[0]) > 1000
    assert ids[0] == ids[1]


def test_no_id_holds_raw_bytes_or_addresses(request: pytest.FixtureRequest):
    for item in request.session.items:
        assert "\\x" not in item.nodeid, item.nodeid
        assert " at 0x" not in item.nodeid, item.nodeid
