"""Ctrl-C ends every command at once, with one line and exit code 130, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

# They start processes, and wait.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SECONDS = 3
CONFIG = """
[data]
name = "digits"
train_count = 200
[optimizer]
name = "sgd"
learning_rate = 0.1
[training]
epochs = 100000
[[layers]]
type = "conv"
features = 4
window = 3
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
features = 10
"""
JCNN = ("-m", "jcnn")
WATCHED = "import os, signal, sys, time\nfrom jcnn.departure import departure\ndeparture.watch()\n"
HOLDS = """
from jcnn.remains import child, temporary_folder
with temporary_folder() as folder:
    (folder / "file").touch()
    command = ["sh", "-c", "sleep 60 & echo $!; wait"]
    with child(command, stdout=-1) as process:
        print(folder, process.stdout.readline().strip(), flush=True)
"""
# Waits in C for a lock that this very thread holds: no handler written in Python runs meanwhile.
STUCK = """
import ctypes
mutex, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)
libc.pthread_mutex_lock(mutex)
print("ready", flush=True)
libc.pthread_mutex_lock(mutex)
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "a.toml").write_text(CONFIG)


def start(*arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*prefix, sys.executable, *arguments], text=True, **pipes)


def interrupt(process: subprocess.Popen[str], number: int = signal.SIGINT) -> tuple[int, str, str]:
    """Press Ctrl-C; return the exit code, and what it said."""
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < SECONDS
    return process.returncode, out, err


def wait_for(process: subprocess.Popen[str], start: str) -> None:
    """Wait for a line of its standard error."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith(start):
            return
    pytest.fail(f"it never said '{start}': {lines}")


def nothing_runs(word: str) -> bool:
    """Whether no process has ``word`` in its command line."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if word.encode() in (folder / "cmdline").read_bytes():
                return False
        except OSError:  # it has ended meanwhile
            continue
    return True


@pytest.mark.parametrize("after", np.random.default_rng(0).uniform(2, 10, 3).round(2))
def test_a_benchmark_ends_at_any_moment(after):
    process = start(*JCNN, "bench", "a.toml", "--seconds", "30")
    time.sleep(after)
    code, _, err = interrupt(process)
    assert code == 130
    assert err.splitlines()[-1] == "stopped"
    assert "Traceback" not in err
    assert "ignored" not in err


@pytest.mark.parametrize("command", ["summary", "bench"])  # the second one starts itself again
@pytest.mark.parametrize("after", np.linspace(0.2, 1.0, 4).round(2))
def test_a_command_ends_while_it_is_being_loaded(command, after):
    process = start(*JCNN, command, "a.toml")
    time.sleep(after)
    code, _, err = interrupt(process)
    # On a fast machine it may have ended, or be ending: Python gives signals back to the system.
    assert (code, err) in ((130, "stopped\n"), (0, ""), (-signal.SIGINT, ""))


def test_what_was_begun_in_jax_itself_is_no_trap():
    """A garbage collection runs JAX's callback, in which an exception is lost."""
    process = start(
        "-c",
        WATCHED
        + "import gc, jax\n"
        + "gc.callbacks.append(lambda *_: os.kill(os.getpid(), signal.SIGINT))\n"
        + "gc.collect()\ntime.sleep(0.1)\nprint('went on')",
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "stopped\n")


@pytest.mark.parametrize("stuck", [STUCK, "time.sleep(60)"], ids=["in C", "in Python"])
def test_children_and_temporary_folders_go_with_it(tmp_path, stuck):
    program = HOLDS + "".join(f"        {line}\n" for line in stuck.strip().splitlines())
    process = start("-c", WATCHED + program)
    assert process.stdout is not None
    folder, grandchild = process.stdout.readline().split()
    time.sleep(0.5)
    assert (Path(folder) / "file").exists()
    assert interrupt(process)[::2] == (130, "stopped\n")
    assert not any((tmp_path / "temporary").iterdir())
    state = Path("/proc") / grandchild / "stat"
    assert not state.exists() or state.read_text().split()[2] == "Z"  # killed, and not yet buried


def test_tuning_ends_while_it_measures():
    process = start(*JCNN, "tune", "--check")
    wait_for(process, "")  # what is being measured
    code, out, err = interrupt(process)
    assert (code, out, err.splitlines()[-1]) == (130, "", "stopped")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_verification_takes_its_training_along(tmp_path, number):
    process = start(*JCNN, "verify", "a.toml")
    wait_for(process, "undisturbed")
    time.sleep(2)
    folder = str(tmp_path / "temporary")
    assert not nothing_runs(folder)
    code, _, err = interrupt(process, number)
    assert (code, err) == (128 + number, "stopped\n")
    assert not any((tmp_path / "temporary").glob("jcnn-verify-*"))
    until = time.monotonic() + 30
    while not nothing_runs(folder):  # what was killed may be listed a moment longer
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_sweep_says_how_to_go_on(tmp_path):
    process = start(*JCNN, "sweep", "a.toml", "--seeds", "3", "--out", "sweep")
    while not (tmp_path / "sweep" / "0" / "experiment.toml").exists():
        assert process.poll() is None
        time.sleep(0.1)
    code, _, err = interrupt(process)
    assert (code, err) == (130, "stopped; the same command goes on\n")


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    process = start(
        "-c",
        WATCHED
        + "from pathlib import Path\nfrom jcnn.runs import files\n"
        + "files.os.fsync = lambda _: (print('writing', file=sys.stderr, flush=True), "
        + "time.sleep(60))\n"
        + "files.write_text(Path('out.json'), 'x' * 1000)",
    )
    wait_for(process, "writing")
    before = {path.name for path in tmp_path.iterdir()}
    assert any(name.startswith(".out.json.") for name in before)
    assert interrupt(process)[0] == 130
    assert {path.name for path in tmp_path.iterdir()} == {"a.toml", "temporary"}


def test_what_was_printed_is_not_lost():
    process = start(
        "-c", WATCHED + "print('a row')\nprint('ready', file=sys.stderr)\ntime.sleep(60)"
    )
    wait_for(process, "ready")
    assert interrupt(process) == (130, "a row\n", "stopped\n")


def test_a_second_signal_does_not_wait_for_the_cleaning():
    cleaning = "from jcnn.remains import register\nregister(lambda: time.sleep(60))\n"
    process = start("-c", WATCHED + cleaning + "print('ready', file=sys.stderr)\ntime.sleep(60)")
    wait_for(process, "ready")
    process.send_signal(signal.SIGINT)
    wait_for(process, "stopped")
    assert interrupt(process)[0] == 130


def test_what_another_handler_takes_is_left_to_it():
    process = start(
        "-c",
        WATCHED
        + "signal.signal(signal.SIGINT, lambda *_: print('taken', flush=True))\n"
        + "print('ready', file=sys.stderr)\ntime.sleep(2)\nsys.exit(7)",
    )
    wait_for(process, "ready")
    assert interrupt(process) == (7, "taken\n", "")


def test_a_forked_worker_clears_nothing_of_its_parents(tmp_path):
    process = start(
        "-c",
        WATCHED
        + "from jcnn.remains import temporary_folder\n"
        + "with temporary_folder() as folder:\n"
        + "    worker = os.fork() or (print('ready', flush=True), time.sleep(60))\n"
        + "    time.sleep(0.5)\n    os.kill(worker, signal.SIGTERM)\n"
        + "    print(os.waitpid(worker, 0)[1] >> 8, folder.exists())",
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "ready\n143 True\n", "")


def test_what_nohup_ignores_stays_ignored():
    process = start(
        "-c",
        WATCHED + "print('ready', file=sys.stderr)\ntime.sleep(2)\nsys.exit(7)",
        prefix=("nohup",),
    )
    wait_for(process, "ready")
    os.kill(process.pid, signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 7
