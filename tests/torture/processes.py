"""Two processes that train together over loopback, and one of them whose other is killed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jcnn.cli.supervision import LOST
from jcnn.inspection.verification import compare_rows, compare_states
from jcnn.runs import Run

WITHIN_SECONDS = 60
_TRAIN = (sys.executable, "-m", "jcnn", "train")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@dataclass
class Together:
    """Processes of one training; each writes what it says to a file of its own."""

    folder: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(
        self,
        where: Sequence[str],
        count: int = 2,
        own: Sequence[Sequence[str]] = ((), ()),
        coordinator: str | None = None,
        inside: Sequence[Sequence[str]] = ((), ()),
    ) -> None:
        """Start ``jcnn train`` in each; ``own`` are the options of each one alone.

        ``inside`` is what each one's command begins with.
        """
        coordinator = coordinator or f"127.0.0.1:{free_port()}"
        for index in range(count):
            shared = ["--distributed", "--coordinator", coordinator, "--processes", str(count)]
            with (self.folder / f"{index}.log").open("w") as log:
                self.processes.append(
                    subprocess.Popen(
                        [
                            *inside[index],
                            *_TRAIN,
                            *where,
                            *own[index],
                            *shared,
                            "--process-index",
                            str(index),
                        ],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        text=True,
                        env={**os.environ, "JCNN_ALLOCATOR": "system", "XLA_FLAGS": ""},
                    )
                )

    def said(self, index: int) -> str:
        """What a process has said so far."""
        return (self.folder / f"{index}.log").read_text(errors="replace")

    def wait(self, timeout: float = 600) -> list[int]:
        """Wait for all; return their exit codes."""
        ends = time.monotonic() + timeout
        try:
            codes = [p.wait(max(1.0, ends - time.monotonic())) for p in self.processes]
        finally:
            for process in self.processes:
                process.kill()
            self.processes.clear()
        return codes


@dataclass
class Killer:
    """Kills one of two processes again and again, and sees what becomes of the other."""

    config: Path
    folder: Path
    draw: random.Random
    seconds: list[float] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.folder / "disturbed"

    def kill(self, victim: int, longest: float) -> str | None:
        """Kill ``victim`` at a random moment; return what the other did wrong."""
        again = Run(self.run).exists()
        where = [str(self.run), "--resume"] if again else [str(self.config), "--out", str(self.run)]
        together = Together(self.folder)
        together.start(where)
        if self.draw.random() >= 0.25:
            await_training(together)
        time.sleep(self.draw.uniform(0, longest))
        phase = "training" if "compiled in" in together.said(0) else "starting"
        together.processes[victim].send_signal(signal.SIGKILL)
        killed = time.monotonic()
        other = together.processes[1 - victim]
        try:
            code = other.wait(4 * WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        took, said = time.monotonic() - killed, together.said(1 - victim)
        together.wait()
        if code == 0:
            self.phases.append("ended")
            return None
        self.seconds.append(took)
        self.phases.append(phase)
        sentence = said.strip().splitlines()[-1] if said.strip() else ""
        if code == LOST and f" {victim}" in sentence and "lost" in sentence:
            return None if took <= WITHIN_SECONDS else f"the other took {took:.0f} s to end"
        return f"the other ended with {code} after {took:.0f} s and said: {said.strip()[-300:]}"

    def finish(self, where: Sequence[str]) -> list[int]:
        """Train to the end without a kill."""
        together = Together(self.folder)
        together.start(where)
        return together.wait()

    def differences(self, undisturbed: Path) -> list[str]:
        """Name what the disturbed run has other than the undisturbed one."""
        _, _, tensors = compare_states(undisturbed, self.run)
        return [*tensors, *compare_rows(undisturbed, self.run)[1]]


def await_training(together: Together) -> None:
    """Wait until training has begun, or a process has ended."""
    began = time.monotonic()
    while time.monotonic() - began < 300:
        ended = any(process.poll() is not None for process in together.processes)
        if ended or "compiled in" in together.said(0):
            return
        time.sleep(0.05)


def resumed_elsewhere(
    run: Path, mesh: int, folder: Path, more: Sequence[str] = ()
) -> dict[str, Any]:
    """Copy a run, train it to its end in one process on ``mesh`` devices; return its summary."""
    copy = folder / f"on-{mesh}"
    shutil.copytree(run, copy)
    options = ["--resume", "--set", f"mesh.data={mesh}", *more]
    subprocess.run(
        [sys.executable, "-m", "jcnn", "train", str(copy), *options],
        check=True,
        capture_output=True,
        env={**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={mesh}"},
    )
    return Run(copy).summary()
