"""PyTorch in a process of its own: the two libraries' thread pools would slow each other down."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from jcnn.benchmark.rows import PEER
from jcnn.benchmark.timing import Subject
from jcnn.config import Experiment

_WORKER = "jcnn.benchmark.torch.worker"
_NOT_INSTALLED = "PyTorch is not installed (the extra 'bench' brings it): no peer."


class PeerError(Exception):
    """PyTorch can't do what was asked; the message says why."""


class TorchPeer:
    """A process that runs PyTorch when it is told to, and waits otherwise.

    Requests and answers are JSON, one object per line: ``build`` something in one memory layout
    under a key, ``run`` it so many times, ``forget`` everything.
    """

    def __init__(self) -> None:
        root = Path(__file__).parents[3]
        paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
        # The worker reads layers through jcnn, and so loads JAX; it must leave the device alone.
        environment = {"PYTHONPATH": os.pathsep.join(paths), "JAX_PLATFORMS": "cpu"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **environment},
        )
        precision = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
        tf32 = precision not in ("float32", "highest")
        answer = self._ask(do="begin", gpu=jax.default_backend() == "gpu", tf32=tf32)
        self.version: str = answer["version"]
        self._layouts: list[str] = answer["layouts"]

    def build_step(self, experiment: Experiment) -> None:
        """Build the experiment's network, in every memory layout.

        Raises:
            PeerError: A layer, the loss or the optimizer has no counterpart.
        """
        for layout in self._layouts:
            self._ask(do="build_step", key=layout, layout=layout, experiment=experiment.to_toml())

    def step_subjects(self) -> list[Subject]:
        """Return the subjects of what was built, one per memory layout."""
        return [Subject(f"{PEER} {layout}", self._runner(layout)) for layout in self._layouts]

    def operation_subjects(self, operation: dict[str, Any]) -> list[Subject]:
        """Build a single operation in place of what was there; see ``operations.build``."""
        self._ask(do="forget")
        for layout in self._layouts:
            self._ask(do="build_operation", key=layout, layout=layout, operation=operation)
        return self.step_subjects()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()

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
            raise PeerError("PyTorch's process ended")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer


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
