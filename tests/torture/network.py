"""Two network namespaces, a cable between them, and a training that is in both when it is cut."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jcnn.cli.supervision import LOST
from tests.torture.processes import WITHIN_SECONDS, Together, await_training

ADDRESSES = {"jcnn0": "10.213.0.1", "jcnn1": "10.213.0.2"}
PORT = 47123


def missing() -> str | None:
    """What is needed for namespaces and isn't there."""
    if shutil.which("ip") is None:
        return "the program 'ip' (iproute2)"
    return None if os.geteuid() == 0 else "a user who may make network namespaces (root)"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def cable() -> Iterator[None]:
    """Within the context there are two namespaces, each a host of its own to the other."""
    ends = {name: f"{name}-eth" for name in ADDRESSES}
    try:
        for name, address in ADDRESSES.items():
            _ip("netns", "add", name)
            # Gloo listens where the host's own name leads.
            hosts = Path("/etc/netns") / name / "hosts"
            hosts.parent.mkdir(parents=True)
            hosts.write_text(f"127.0.0.1 localhost\n{address} {socket.gethostname()}\n")
        (one, a), (other, b) = ends.items()
        _ip("link", "add", a, "netns", one, "type", "veth", "peer", "name", b, "netns", other)
        for name, address in ADDRESSES.items():
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", ends[name])
            for link in ("lo", ends[name]):
                _ip("-n", name, "link", "set", link, "up")
        yield
    finally:
        for name in ADDRESSES:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
            shutil.rmtree(Path("/etc/netns") / name, ignore_errors=True)


def cut_once(where: Sequence[str], folder: Path, after: float) -> tuple[list[float], list[str]]:
    """Train in both, and cut the cable so many seconds after training has begun.

    Returns when each process ended, in seconds after the cut, and what was wrong.
    """
    together = Together(folder)
    with cable():
        inside = [("ip", "netns", "exec", name) for name in ADDRESSES]
        first = next(iter(ADDRESSES.values()))
        together.start(where, coordinator=f"{first}:{PORT}", inside=inside)
        await_training(together)
        time.sleep(after)
        _ip("-n", "jcnn0", "link", "set", "jcnn0-eth", "down")
        ends = _ended(together.processes, 2 * WITHIN_SECONDS)
        wrong = [
            f"process {index} ended with {code} after {seconds:.0f} s: {together.said(index)[-99:]}"
            for index, (code, seconds) in enumerate(ends)
            if code != LOST or seconds > WITHIN_SECONDS or "lost" not in together.said(index)
        ]
        for process in together.processes:
            process.kill()
    return [seconds for _, seconds in ends], wrong


def _ended(
    processes: list[subprocess.Popen[str]], seconds: float
) -> list[tuple[int | None, float]]:
    """Wait for all; return each one's exit code (None: it runs still) and when it ended."""
    began = time.monotonic()
    found: dict[int, tuple[int | None, float]] = {}
    while len(found) < len(processes) and (passed := time.monotonic() - began) < seconds:
        for index, process in enumerate(processes):
            if index not in found and process.poll() is not None:
                found[index] = process.returncode, passed
        time.sleep(0.1)
    return [found.get(index, (None, seconds)) for index in range(len(processes))]
