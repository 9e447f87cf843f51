"""A signal saves and ends a training within seconds, wherever it stands; a second one at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jcnn.runs import Run
from jcnn.training import load_trained
from tests.selection import slow_unless

# They start processes, train or compile much.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SECONDS = 5
CONFIG = """
[data]
name = "digits"
train_count = 200
[optimizer]
name = "sgd"
learning_rate = 0.1
[training]
epochs = 3
steps_per_dispatch = 1
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
features = 10
"""
# Waits in C for a lock that this very thread holds: no handler written in Python runs meanwhile.
STUCK = """
import ctypes, sys
from jcnn.cli import main
from {module} import {cls}

def stuck(self, *arguments, before={cls}.{method}, calls=[]):
    calls.append(None)
    if len(calls) <= {calls}:
        return before(self, *arguments)
    print("stuck", flush=True)
    mutex, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)

{cls}.{method} = stuck
sys.exit(main(sys.argv[1:]))
"""
# Where it is stuck, after how many calls that go well, and the step of the checkpoint then.
PLACES = {
    "reading data": ("jcnn.data", "Digits", "load", 0, None),
    "compiling": ("jcnn.training.feeds", "DeviceFeed", "compile", 0, None),
    "training": ("jcnn.training.feeds", "DeviceFeed", "advance", 2, 2),
    "evaluating": ("jcnn.training.evaluation", "DeviceEvaluation", "__call__", 1, 6),
}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.toml").write_text(CONFIG)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("xla"))


def start(program: str, cache: str, *prefix: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", program, "train", "a.toml", "--out", "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "JCNN_CACHE": cache,
            "JCNN_ALLOCATOR": "system",
        },
    )


def wait_until_stuck(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line == "stuck\n":
            return
    pytest.fail(f"it was never stuck: {lines}")


def program(module: str, cls: str, method: str, calls: int) -> str:
    return STUCK.format(module=module, cls=cls, method=method, calls=calls)


@pytest.mark.parametrize("place", slow_unless(lambda place: place == "evaluating", PLACES))
def test_a_signal_ends_it_within_seconds(place, cache):
    *where, step = PLACES[place]
    process = start(program(*where), cache)
    wait_until_stuck(process)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - began < SECONDS
    assert process.returncode == 128 + signal.SIGTERM
    assert len(err.splitlines()) == 1
    if step is None:
        assert err.startswith("stopped")
    else:
        assert err == f"stopped after step {step}; continue with: jcnn train run --resume\n"
        assert load_trained("run").step == step
    assert not Run(Path("run")).summary_file.exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_second_signal_ends_it_at_once(number, cache):
    process = start(program(*PLACES["training"][:-1]), cache)
    wait_until_stuck(process)
    process.send_signal(number)
    time.sleep(0.3)
    began = time.monotonic()
    process.send_signal(number)
    process.communicate(timeout=60)
    assert time.monotonic() - began < 1.5
    assert process.returncode == 128 + number


@pytest.mark.slow
def test_what_nohup_ignores_stays_ignored(cache):
    process = start(program(*PLACES["training"][:-1]), cache, "nohup")
    wait_until_stuck(process)
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=4)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
