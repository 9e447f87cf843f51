"""One sentence where a process of several is lost: JAX itself ends those that are left by a crash.

The coordination service's client aborts its process the moment another one is lost, before any
Python could say a word. So `jcnn train --distributed` runs in a child, whose parent does nothing
but hand signals on, read what the child writes to its standard error, and say how it ended.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from typing import NoReturn

from jcnn.errors import command

SWITCH = "JCNN_SUPERVISOR"  # the end of a pipe that closes when the parent ends
LOST = 4  # exit code where another process is lost
MARK = "\x1ejcnn run "

_NOISE = re.compile(
    r"^(?:[IWEF]\d{4} \d\d:|\[Gloo\]|\*\*\* Check failure|\s+@\s+0x|WARNING: All log messages"
    r"|Additional GRPC error|:?UNKNOWN:Error received|RPC: /xla|The tasks have crashed|\d+$|$)"
)


def is_supervised() -> bool:
    """Whether this is the child."""
    return SWITCH in os.environ


def supervise() -> NoReturn:
    """Run this very command in a child, and end as it ends; the child's own words are passed on."""
    reading, writing = os.pipe()
    child = subprocess.Popen(
        [sys.executable, *sys.orig_argv[1:]],
        env={**os.environ, SWITCH: str(reading)},
        stderr=subprocess.PIPE,
        pass_fds=(reading,),
        start_new_session=True,  # so that a terminal's Ctrl-C comes once, from here
        text=True,
        errors="replace",
    )
    os.close(reading)
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: child.send_signal(number))
    relay = _Relay()
    relay.read(child)
    code = child.wait()
    os.close(writing)
    if code >= 0:
        sys.exit(code)
    print(f"jcnn: {relay.reason(-code)}", file=sys.stderr, flush=True)
    sys.exit(LOST if relay.is_about_others() else 128 - code)


def end_with_parent() -> None:
    """In the child: end when the parent does, whichever way."""
    reading = int(os.environ.pop(SWITCH))

    def wait() -> None:
        os.read(reading, 1)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def say_run(folder: object) -> None:
    """Tell the parent where the run is."""
    print(f"{MARK}{folder}", file=sys.stderr, flush=True)


class _Relay:
    """Passes a child's lines on, but for XLA's log, which it keeps."""

    def __init__(self) -> None:
        self._kept: list[str] = []
        self._run: str | None = None

    def read(self, child: subprocess.Popen[str]) -> None:
        """Read until the child closes its standard error."""
        assert child.stderr is not None
        for line in child.stderr:
            if line.startswith(MARK):
                self._run = line.removeprefix(MARK).strip()
            elif _NOISE.match(line):
                self._kept.append(line)
            else:
                sys.stderr.write(line)
                sys.stderr.flush()

    def is_about_others(self) -> bool:
        """Whether it was another process that was lost."""
        return "distributed service detected fatal errors" in "".join(self._kept)

    def reason(self, number: int) -> str:
        """Say why the child ended by a signal."""
        if not self.is_about_others():
            return f"the training was ended by {signal.Signals(number).name}{self._on()}"
        log = "".join(self._kept)
        if "RegisterTask" in log and "DEADLINE_EXCEEDED" in log:
            return "not all processes came in time (distributed.connect_seconds)"
        lost = re.search(r"stopped sending heartbeats\):\n(\d+(?:\n\d+)*)", log)
        if lost is None:
            return f"process 0, the coordinator, was lost{self._on()}"
        names = ", ".join(sorted(set(lost[1].split()), key=int))
        many = "processes" if "," in names else "process"
        was = "were" if "," in names else "was"
        return f"{many} {names} {was} lost: nothing was heard any more{self._on()}"

    def _on(self) -> str:
        again = command("train", self._run, "--resume")
        return f"; continue with: {again}" if self._run else ""
