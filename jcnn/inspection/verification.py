"""Killed and resumed equals undisturbed, bit for bit: a certificate for an experiment."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jcnn.config import Experiment
from jcnn.errors import UserError
from jcnn.remains import child
from jcnn.runs import Run
from jcnn.runs.environment import hardware, versions
from jcnn.runs.files import write_text
from jcnn.runs.place import Place
from jcnn.training import load_trained

CLOCKS = ("seconds", "waiting")
# In turn: the first can't be heard, the second is heard.
SIGNALS = (getattr(signal, "SIGKILL", signal.SIGTERM), signal.SIGTERM)

# The phases in which a kill shows something: before them nothing is lost, after them nothing left.
SHOWING = ("training", "saving")
# Kills beyond those asked for, where none of these fell into such a phase.
_MORE = 5

Report = Callable[[str], None]


@dataclass(frozen=True)
class Kill:
    """One kill.

    Attributes:
        signal: "SIGKILL" or "SIGTERM".
        seconds: After the start of its process.
        phase: "starting" until the programs are compiled, then "training", or "saving" where a
            checkpoint was half written; "ended" where training had ended before.
        exit_code: What the process ended with.
        step: The newest checkpoint's step; 0 before the first.
        lost_seconds: Work done since that checkpoint, at most.
    """

    signal: str
    seconds: float
    phase: str
    exit_code: int
    step: int
    lost_seconds: float

    @property
    def shows(self) -> bool:
        """Whether it fell into the training."""
        return self.phase in SHOWING


@dataclass(frozen=True)
class Verification:
    """What :func:`verify` compared.

    Attributes:
        name: The experiment's.
        steps: How many were trained, twice.
        kills: The second time's; more than were asked for, where none of those fell into training.
        tensors: How many the state has: parameters, optimizer, running statistics, average.
        values: How many numbers those have.
        rows: How many rows of metrics were compared, but for their seconds.
        differences: Names of the tensors, and numbers of the rows, that differ.
        seconds: How long all of it took.
        versions: Of jcnn, Python, JAX and what else shapes a result.
        hardware: The processor and what JAX computes on.
    """

    name: str
    steps: int
    kills: tuple[Kill, ...]
    tensors: int
    values: int
    rows: int
    differences: tuple[str, ...]
    seconds: float
    versions: dict[str, str]
    hardware: dict[str, Any]

    @property
    def passed(self) -> bool:
        """Whether every bit is the same; without a kill in the training that shows nothing."""
        return not self.differences and self.shown > 0

    @property
    def shown(self) -> int:
        """How many kills fell into the training."""
        return sum(kill.shows for kill in self.kills)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {"passed": self.passed, **asdict(self)}


def verify(
    experiment: Experiment,
    folder: Path,
    *,
    kills: int = 5,
    seed: int = 0,
    report: Report = lambda line: None,
) -> Verification:
    """Train an experiment twice, once undisturbed and once killed and resumed, and compare.

    Args:
        experiment: What to train; each training is a process of its own.
        folder: An empty folder for the two runs.
        kills: How often the second is killed, at random moments; some times more where none of
            them falls into the training.
        seed: Of the moments and of the signals.
        report: Told what is being done.

    Raises:
        UserError: A training ends in a way that it shouldn't.
    """
    began = time.perf_counter()
    config = folder / f"{experiment.name}.toml"
    # Often saved, so that what is resumed is seldom the beginning.
    often = {"checkpoint_every_seconds": 0.1}
    training = experiment.training.model_copy(update=often)
    write_text(config, experiment.model_copy(update={"training": training}).to_toml())
    report("undisturbed")
    before = time.perf_counter()
    _train_to_the_end(config, folder / "undisturbed")
    takes = time.perf_counter() - before
    report(f"undisturbed: {takes:.1f} s")
    disturbed = folder / "disturbed"
    moments = _Moments(random.Random(seed), Run(folder / "undisturbed"), takes, kills)
    met = _killed(config, disturbed, moments, kills, report)
    _train_to_the_end(config, disturbed)
    tensors, values, differences = compare_states(folder / "undisturbed", disturbed)
    rows, differing = compare_rows(folder / "undisturbed", disturbed)
    return Verification(
        experiment.name,
        Run(disturbed).summary()["steps"],
        tuple(met),
        tensors,
        values,
        rows,
        (*differences, *differing),
        round(time.perf_counter() - began, 3),
        versions(),
        hardware(),
    )


class _Moments:
    """Random moments to kill at, of which few come after the end: a third while it starts."""

    def __init__(self, draw: random.Random, undisturbed: Run, takes: float, kills: int) -> None:
        summary = undisturbed.summary()
        self._draw, self._trains = draw, summary["seconds"] - summary["compile_seconds"]
        self._starts, self._kills = takes - self._trains, kills

    def wait(self, process: subprocess.Popen[str], is_compiled: Callable[[], bool]) -> None:
        """Wait for the next moment, or for the process to end."""
        latest = self._draw.uniform(0, self._starts) if self._draw.random() < 1 / 3 else math.inf
        after = self._draw.uniform(0, 2 * self._trains / (self._kills + 1))
        began, compiled = time.monotonic(), False
        while process.poll() is None and time.monotonic() - began < latest:
            time.sleep(0.01)
            if not compiled and is_compiled():
                compiled, latest = True, min(latest, time.monotonic() - began + after)


def _killed(config: Path, out: Path, moments: _Moments, kills: int, report: Report) -> list[Kill]:
    """Kill a training so often, and more often until one kill has fallen into it."""
    met: list[Kill] = []
    for number in range(kills + _MORE):
        if number >= kills and any(kill.shows for kill in met):
            break
        if number >= kills and met[-1].phase == "ended":
            shutil.rmtree(out)  # it has ended undisturbed, and there is nothing left to kill
        met.append(_kill(config, out, moments, SIGNALS[number % 2]))
        report(
            f"{met[-1].signal} {number + 1} of {max(kills, number + 1)}, after "
            f"{met[-1].seconds:.1f} s, while {met[-1].phase}: resumable from step {met[-1].step}"
        )
    return met


def _train_to_the_end(config: Path, out: Path) -> None:
    with _training(config, out) as process:
        _expect(process, (0,), out.parent)


@contextmanager
def _training(config: Path, out: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a training, or continue it where its folder holds one; it ends with the block."""
    where = [str(out), "--resume"] if Run(out).exists() else [str(config), "--out", str(out)]
    command = [sys.executable, "-m", "jcnn", "train", *where]
    # without the second start for the allocator, so that a signal meets the training
    environment = {**os.environ, "JCNN_ALLOCATOR": "system"}
    with (out.parent / f"{out.name}.log").open("a") as log:
        how = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "env": environment}
        with child(command, **how) as process:
            yield process


def _expect(process: subprocess.Popen[str], codes: Sequence[int], folder: Path) -> int:
    code = process.wait()
    if code not in codes:
        logs = [log.read_text().strip().splitlines() for log in sorted(folder.glob("*.log"))]
        said = [lines[-1] for lines in logs if lines]
        raise UserError(f"a training ended with exit code {code}: {'; '.join(said)}")
    return code


def _kill(config: Path, out: Path, moments: _Moments, number: int) -> Kill:
    began, log = time.time(), out.parent / f"{out.name}.log"
    said = log.stat().st_size if log.exists() else 0
    with _training(config, out) as process:
        moments.wait(process, lambda: b"compiled in" in log.read_bytes()[said:])
        process.send_signal(number)  # nothing happens where it has ended
        ended = time.time()
        code = _expect(process, (0, -number, 128 + number), out.parent)
    checkpoints = Run(out).checkpoints_folder
    phase = _phase(code, b"compiled in" in log.read_bytes()[said:], checkpoints)
    step, saved = _newest(checkpoints)
    lost = max(0.0, ended - max(saved, began))
    name = signal.Signals(number).name
    return Kill(name, round(ended - began, 3), phase, code, step, round(lost, 3))


def _phase(code: int, compiled: bool, checkpoints: Path) -> str:
    if code == 0:
        return "ended"
    if not compiled:  # what is half written an earlier kill may have left
        return "starting"
    return "saving" if any(checkpoints.glob(".*.partial")) else "training"


def _newest(checkpoints: Path) -> tuple[int, float]:
    """Return the newest checkpoint's step, and when it was written."""
    found = [(Place.of(path.name), path) for path in checkpoints.glob("*")]
    places = {place: path for place, path in found if place is not None}
    if not places:
        return 0, 0.0
    newest = max(places)
    return newest.step, places[newest].stat().st_mtime


def compare_states(one: Path, two: Path) -> tuple[int, int, list[str]]:
    """Count the tensors and numbers of two runs' states, and name the tensors that differ."""
    states = (load_trained(run).state for run in (one, two))
    left, right = map(jax.tree_util.tree_leaves_with_path, states)
    differing = [
        jax.tree_util.keystr(path, simple=True, separator=".")
        for (path, a), (_, b) in zip(left, right, strict=True)
        if np.asarray(a).tobytes() != np.asarray(b).tobytes()
    ]
    return len(left), sum(np.size(leaf) for _, leaf in left), differing


def compare_rows(one: Path, two: Path) -> tuple[int, list[str]]:
    """Count the rows of two runs' metrics, and number those that differ in more than seconds."""
    left, right = (list(map(_bits, Run(run).metrics())) for run in (one, two))
    count = max(len(left), len(right))
    padded = [rows + [""] * (count - len(rows)) for rows in (left, right)]
    return count, [f"row {k} of metrics" for k in range(count) if padded[0][k] != padded[1][k]]


def _bits(row: dict[str, Any]) -> str:
    return json.dumps({key: value for key, value in row.items() if key not in CLOCKS})
