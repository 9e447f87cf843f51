"""What a command prints survives any stream that it is given."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import subprocess
import sys

import pytest

from jcnn.cli import streams
from jcnn.cli.options import print_json


class Failing(io.StringIO):
    """Takes one line, and then fails."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self._code, self.attempts = code, 0

    def write(self, text: str) -> int:
        self.attempts += 1
        if self.attempts > 1:
            raise OSError(self._code, "failed")
        return super().write(text)


@pytest.mark.parametrize("code", [errno.EPIPE, errno.ENOSPC])
def test_progress_goes_on_when_nobody_can_read_it(code):
    under = Failing(code)
    patient = streams.Patient(under)
    for line in ("one", "two", "three"):
        patient.write(line)
        patient.flush()
    assert under.getvalue() == "one"
    assert under.attempts == 2
    assert patient.failure is not None
    assert streams.is_broken_pipe(patient.failure) == (code == errno.EPIPE)


def test_every_character_goes_through_an_ascii_stream(monkeypatch):
    under = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(under, encoding="ascii"))
    streams.prepare()
    print("猫 – ok", flush=True)
    assert under.getvalue() == b"\\u732b \\u2013 ok\n"


def test_no_stream_at_all_is_no_hindrance(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    streams.prepare()
    print("nobody reads this", flush=True)
    sys.stdout.close()


def test_a_standard_input_that_is_closed_is_empty(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    streams.prepare()
    assert sys.stdin.buffer.read() == b""
    sys.stdin.close()


def test_what_is_warned_of_is_printed_as_errors_are(capsys):
    with streams.warnings_said():
        logging.getLogger("jcnn").warning("left out: %s", "a.jpg is a broken image")
    assert capsys.readouterr().err == "jcnn: left out: a.jpg is a broken image\n"


def test_json_has_null_where_a_number_is_none(capsys):
    print_json({"loss": float("nan"), "rows": [{"a": (float("inf"), 1.5)}]})
    out = capsys.readouterr().out
    assert json.loads(out, parse_constant=pytest.fail) == {
        "loss": None,
        "rows": [{"a": [None, 1.5]}],
    }


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev/full is Linux's")
def test_a_full_disk_behind_the_output_is_one_sentence():
    done = subprocess.run(
        f"{sys.executable} -m jcnn summary digits --json > /dev/full",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (2, "jcnn: No space left on device\n")


def test_nobody_who_reads_is_no_error_message():
    program = f"set -o pipefail; {sys.executable} -m jcnn summary digits --json | head -1"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True)
    assert done.stdout == "{\n"
    assert done.stderr == ""


@pytest.mark.skipif(os.name != "posix", reason="a shell's pipe")
def test_a_pipe_that_nobody_reads_ends_as_its_signal_does_not_as_a_failed_check():
    program = f"{sys.executable} -m jcnn layers | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (128 + 13, "")
