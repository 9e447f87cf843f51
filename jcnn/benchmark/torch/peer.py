"""PyTorch in a process of its own: the two libraries' thread pools would slow each other down."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from textwrap import shorten
from typing import Any

import jax

from jcnn.benchmark.rows import PEER
from jcnn.benchmark.timing import Effort, Subject, Timing, measure
from jcnn.config import Experiment
from jcnn.remains import register

_PATIENCE = 10.0  # seconds until a process that was told to end is killed
_WIDTH = 160  # of a reason that is one of several; torch.compile's fill pages
_WORKER = "jcnn.benchmark.torch.worker"
_NOT_INSTALLED = "PyTorch is not installed (the extra 'bench' brings it): no peer."


class PeerError(Exception):
    """PyTorch can't do what was asked; the message says why."""


class TorchPeer:
    """A process that runs PyTorch when it is told to, and waits otherwise.

    Requests and answers are JSON, one object per line: ``build`` something in one memory layout
    under a key, ``run`` it so many times, ``forget`` everything.

    Attributes:
        version: PyTorch's.
        left_out: What of the experiment's step PyTorch's lacks, by the keys that ask for it.
    """

    def __init__(self) -> None:
        root = Path(__file__).parents[3]
        paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
        # The worker reads layers through jcnn, and so loads JAX; it must leave the device alone.
        environment = {"PYTHONPATH": os.pathsep.join(paths), "JAX_PLATFORMS": "cpu"}
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env={**os.environ, **environment},
        )
        self._forget = register(self._process.kill)
        precision = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
        tf32 = precision not in ("float32", "highest")
        try:
            answer = self._ask(do="begin", gpu=jax.default_backend() == "gpu", tf32=tf32)
        except BaseException:
            self.close()
            raise
        self.version: str = answer["version"]
        self.left_out: list[str] = []
        self._layouts: list[str] = answer["layouts"]
        self._refused: dict[str, str] = {}

    def build_step(self, experiment: Experiment) -> None:
        """Build the experiment's network, in every memory layout that PyTorch does not refuse.

        Raises:
            PeerError: It refuses all: a layer, the loss or the optimizer has no counterpart.
        """
        answer = self._build(do="build_step", experiment=experiment.to_toml())
        self.left_out = answer["left_out"]

    def step_subjects(self) -> list[Subject]:
        """Return the subjects of what was built, one per memory layout."""
        built = [layout for layout in self._layouts if layout not in self._refused]
        return [Subject(f"{PEER} {layout}", self._runner(layout)) for layout in built]

    def operation_subjects(self, operation: dict[str, Any]) -> list[Subject]:
        """Build a single operation in place of what was there; see ``operations.build``."""
        self._build(do="build_operation", operation=operation)
        return self.step_subjects()

    def note(self, outcome: str) -> str:
        """Say what came of it: the fastest layout, or why there is none; and what was refused."""
        reasons = {layout: shorten(reason, _WIDTH) for layout, reason in self._refused.items()}
        refused = [f"not {layout}: {reason}" for layout, reason in reasons.items()]
        return "; ".join([f"PyTorch: {outcome}", *refused])

    def _build(self, **request: Any) -> dict[str, Any]:
        """Build in every layout; one that fails is left out, unless all do."""
        self._ask(do="forget")
        answer, refused = None, {}
        for layout in self._layouts:
            try:
                answer = self._ask(key=layout, layout=layout, **request)
            except PeerError as error:
                if self._process.poll() is not None:
                    raise
                refused[layout] = str(error)
        if answer is None:
            raise PeerError(next(iter(refused.values())))
        self._refused = refused
        return answer

    def close(self) -> None:
        """End the process, which may have ended by itself."""
        self._forget()
        assert self._process.stdin
        assert self._process.stdout
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._said.close()

    def _runner(self, key: str):
        return lambda count: float(self._ask(do="run", key=key, count=count)["seconds"])

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise PeerError(f"PyTorch's process ended{self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def _last_words(self) -> str:
        self._process.wait()  # what it says last is written by then
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f": {last}" if last else f" with {self._process.returncode}"


def measure_beside(
    subjects: Sequence[Subject], peers: Sequence[Subject], effort: Effort
) -> tuple[dict[str, Timing], str]:
    """Measure both; where PyTorch fails, the subjects by themselves, and say why."""
    try:
        return measure([*subjects, *peers], effort), ""
    except PeerError as error:
        return measure(subjects, effort), str(error)


@contextmanager
def open_peer(
    wanted: bool, experiment: Experiment | None = None
) -> Iterator[tuple[TorchPeer | None, str]]:
    """Start the peer, with an experiment's network; else give None and the reason."""
    if not wanted:
        yield None, ""
        return
    if importlib.util.find_spec("torch") is None:
        yield None, _NOT_INSTALLED
        return
    peer = None
    try:
        try:
            peer = TorchPeer()
            if experiment is not None:
                peer.build_step(experiment)
            ready, reason = peer, ""
        except PeerError as error:
            ready, reason = None, f"No PyTorch peer: {error}."
        yield ready, reason
    finally:
        if peer is not None:
            peer.close()
