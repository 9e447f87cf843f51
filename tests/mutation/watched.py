"""Mutants judged in a process that is watched: one may compile or fill memory without an end.

A mutant that takes more than MEMORY or SECONDS, or that ends the process, counts as crashed.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import jax

from tests.mutation.judge import Verdict, verdict
from tests.mutation.table import Mutant, mutants

MEMORY = 6 << 30  # bytes; what the code as it is takes stays below 3 GB
SECONDS = 900.0  # until the next verdict
Judge = Callable[[str, Counter[str]], Verdict]


def judged(names: Sequence[str]) -> dict[Mutant, Verdict]:
    """Return the verdicts on a file's mutants, in one process as long as that lives."""
    verdicts: dict[Mutant, Verdict] = {}
    while len(verdicts) < len(names):
        left = names[len(verdicts) :]
        found = verdicts_until_ended(left)
        if len(found) < len(left):
            found.append(Verdict("crashed"))  # of the one that was being judged
        verdicts |= {mutants()[name]: one for name, one in zip(left, found, strict=False)}
    return verdicts


def by_the_table(name: str, noticed: Counter[str]) -> Verdict:
    """Return the verdict on a mutant of the table, and free what was compiled for it."""
    found = verdict(mutants()[name], noticed)
    jax.clear_caches()  # of programs that are asked for once
    return found


def verdicts_until_ended(
    names: Sequence[str],
    judge: Judge = by_the_table,
    memory: int = MEMORY,
    seconds: float = SECONDS,
) -> list[Verdict]:
    """Return the first verdicts: all of them, or those before the one that had to be ended.

    The time until the process is there is not counted.

    Raises:
        EOFError: It never was.
    """
    spawned = multiprocessing.get_context("spawn")
    receiver, sender = spawned.Pipe(duplex=False)
    process = spawned.Process(target=_answer, args=(sender, names, judge))
    process.start()
    sender.close()  # this process's end of it, so that the other's death is an end of file
    found: list[Verdict] = []
    try:
        receiver.recv()
        with suppress(EOFError):
            while len(found) < len(names) and _spoke(receiver, process, memory, seconds):
                found.append(receiver.recv())
    finally:
        process.kill()
        process.join()
    return found


def _answer(sender: Connection, names: Sequence[str], judge: Judge) -> None:
    noticed: Counter[str] = Counter()
    sender.send("there")
    for name in names:
        found = judge(name, noticed)
        noticed[found.by] += 1
        sender.send(found)


def _spoke(receiver: Connection, process: BaseProcess, memory: int, seconds: float) -> bool:
    """Wait for the next verdict, or for the end of the process, as long as it may go on."""
    end = time.monotonic() + seconds
    while not receiver.poll(0.2):
        if time.monotonic() > end or resident(process.pid) > memory:
            return False
    return True


def resident(pid: int | None) -> int:
    """Return how many bytes of memory a process holds; 0 where the system doesn't say."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()
