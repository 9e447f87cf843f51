"""Ctrl-C ends a measurement at once, in one word."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "digits.toml"


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [["bench", str(CONFIG)], ["tune", "--check"]], ids=["bench", "tune"]
)
def test_a_measurement_that_is_interrupted_ends_in_a_word(command):
    process = subprocess.Popen(
        [sys.executable, "-m", "jcnn", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JCNN_ALLOCATOR": "system"},
    )
    assert process.stderr is not None
    assert process.stderr.readline()  # what is being measured
    process.send_signal(signal.SIGINT)
    output, said = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    assert said.splitlines()[-1] == "stopped"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_verification_that_is_ended_ends_its_training(tmp_path, number):
    """And leaves no folder."""
    process = subprocess.Popen(
        [sys.executable, "-m", "jcnn", "verify", str(CONFIG)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "undisturbed\n"
    while not list(tmp_path.glob("jcnn-verify-*/*.log")):
        time.sleep(0.05)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert not list(tmp_path.iterdir())
    until = time.monotonic() + 30
    while _goes_on(process.pid):
        assert time.monotonic() < until
        time.sleep(0.1)


def _goes_on(group: int) -> bool:
    """Whether a process of the group does something yet; what has ended may still be listed."""
    listed = subprocess.run(
        ["ps", "-eo", "pgid=,stat="], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in listed.stdout.splitlines()]
    return any(own == str(group) and not state.startswith("Z") for own, state in rows)
