"""Ctrl-C ends a measurement at once, in one word."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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
