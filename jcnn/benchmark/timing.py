"""Interleaved timings: subjects take turns, so that what disturbs one disturbs the others too."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax

# A sample of runs shorter than this comes after as many untimed ones: threads sleep, caches and
# pages are taken away while others have their turn. A step of 0.3 s took 0.6 s straight after two
# seconds of rest; a max pool of 0.75 ms took 1.6, and ten runs to be as fast again.
_SHORT_SECONDS = 2.0
# A first run of so many times all its time is not followed by another.
_PATIENCE = 5


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        repeats: Samples of each subject, at most.
        seconds: Time for each subject; a slow one gets fewer samples, though not fewer than 3,
            and a single one where a run takes longer than all of this: its second run, or its
            first where that took at least 5 times as long as this.
        sample_seconds: A sample holds as many runs as fill this time.
    """

    repeats: int = 20
    seconds: float = 5.0
    sample_seconds: float = 0.02


@dataclass(frozen=True)
class Subject:
    """What is timed.

    Attributes:
        name: Its column.
        run: Does it so many times and returns the seconds that they took together.
        units: What one run counts for, for example its steps; timings are per unit.
        first: Seconds of its first run, where that has been done.
    """

    name: str
    run: Callable[[int], float]
    units: int = 1
    first: float | None = None


@dataclass(frozen=True)
class Timing:
    """Seconds of each sample, per unit.

    >>> Timing((3.0, 1.0, 2.0)).median
    2.0
    """

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.samples)

    def spread(self, scale: float = 1.0) -> dict[str, float]:
        """Return ``n``, ``min``, ``q1`` and ``q3``, the last three times ``scale``.

        >>> Timing((3.0, 1.0, 2.0)).spread(10)
        {'n': 3, 'min': 10.0, 'q1': 15.0, 'q3': 25.0}
        """
        q1 = q3 = self.samples[0]
        if len(self.samples) > 1:
            q1, _, q3 = statistics.quantiles(self.samples, n=4, method="inclusive")
        return {
            "n": len(self.samples),
            "min": min(self.samples) * scale,
            "q1": q1 * scale,
            "q3": q3 * scale,
        }


def call_subject(name: str, call: Callable[[], Any], units: int = 1) -> Subject:
    """Return the subject of a function of JAX arrays; waits for what the last call returned."""

    def run(count: int) -> float:
        start = time.perf_counter()
        result = None
        for _ in range(count):
            result = call()
        jax.block_until_ready(result)
        return time.perf_counter() - start

    return Subject(name, run, units)


def measure(subjects: Sequence[Subject], effort: Effort) -> dict[str, Timing]:
    """Warm every subject up, then let them take turns until each has its samples.

    The order is drawn anew for every round: who follows a process that had other data in the cache
    is slower, by a quarter at a millisecond.
    """
    turns = [_Turns(subject, effort) for subject in subjects]
    rounds = max(turn.wanted for turn in turns)
    generator = random.Random(0)
    for number in range(rounds):
        for turn in generator.sample(turns, len(turns)):
            # Fewer samples are spread over all rounds, where disturbances are the same.
            if number * turn.wanted // rounds != (number + 1) * turn.wanted // rounds:
                turn.take()
    return {turn.subject.name: Timing(tuple(turn.samples)) for turn in turns}


class _Turns:
    """One subject: how many samples it gets, of how many runs, and what they were."""

    def __init__(self, subject: Subject, effort: Effort) -> None:
        self.subject, self.effort = subject, effort
        self.samples: list[float] = []
        self.wanted, self.runs, self.warm = 0, 1, False
        first = subject.run(1) if subject.first is None else subject.first
        if first >= _PATIENCE * effort.seconds:
            self.samples.append(first / subject.units)
            return
        # The first run also touches its memory for the first time: 2.8 s for a step of 1.2 s.
        second = subject.run(1)
        seconds = min(first, second)
        if seconds > effort.seconds:
            self.samples.append(second / subject.units)
            return
        self.warm = seconds < _SHORT_SECONDS
        self._fill(seconds)
        cost = seconds * self.runs * (1 + self.warm)
        self.wanted = min(effort.repeats, max(3, int(effort.seconds / cost)))

    def take(self) -> None:
        if self.warm:
            self._run()
        self.samples.append(self._run() / self.subject.units)

    def _run(self) -> float:
        seconds = self.subject.run(self.runs) / self.runs
        self._fill(seconds)
        return seconds

    def _fill(self, seconds: float) -> None:
        """As many runs as fill a sample; the first ones of a process are too slow to tell."""
        self.runs = max(self.runs, math.ceil(self.effort.sample_seconds / seconds))
