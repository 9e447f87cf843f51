"""What lowerings cost on this machine: measured, and put down as costs that predict others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jcnn import lowering, processor
from jcnn.benchmark.problems import arrays, subject
from jcnn.benchmark.timing import Effort, measure
from jcnn.lowering import Machine, Policy, Problem, native
from jcnn.lowering.algorithms import GROUPED, eligible, serving, work
from jcnn.lowering.costs import KINDS, NANOSECONDS
from jcnn.lowering.machine import FORMAT
from jcnn.runs.environment import versions
from jcnn.runs.files import write_text, writing

Report = Callable[[str], None]
Rows = Mapping[Problem, Mapping[str, float]]
EFFORT = Effort(repeats=5, seconds=0.2, sample_seconds=0.01)
# How near to the best a choice must be to count.
NEAR = 1.1
# Of what a problem's lowerings are off by together, how much is no error: its machine was slow.
TOGETHER = 0.7
VECTORS = {"AVX-512": 16, "AVX2": 8}


def measured(
    problems: Iterable[Problem],
    effort: Effort = EFFORT,
    *,
    report: Report = lambda line: None,
) -> dict[Problem, dict[str, float]]:
    """Return the seconds of every lowering that each problem is chosen between."""
    policy, rows, problems = Policy.current(), {}, list(problems)
    for number, problem in enumerate(problems, 1):
        report(f"{number}/{len(problems)} {problem}")
        given = arrays(problem)
        subjects = [subject(problem, name, given) for name in eligible(problem, policy)]
        timings = measure(subjects, effort)
        rows[problem] = {name: timing.median for name, timing in timings.items()}
    return rows


def fitted(rows: Rows, machine: Machine) -> Machine:
    """Return the machine with the costs that predict the rows best, and with the rows.

    Least squares of the logarithms of predicted over measured times, since the choice compares
    ratios; most of what all lowerings of a problem are off by together is taken out for the same
    reason. What lies far off counts less, and so does what is much slower than the best.
    """
    from scipy.optimize import least_squares

    counts, times, best, problem = _counted(rows, machine)
    used = counts.any(axis=0)
    typical = np.array([np.median(c[c > 0]) if c.any() else 1 for c in counts.T])
    counts, logarithms = counts[:, used] / typical[used], np.log(times)
    weights = (best / times) ** 0.25
    together = (problem[:, None] == problem).astype(float)
    centred = np.eye(len(times)) - TOGETHER * together / together.sum(1, keepdims=True)

    def residuals(costs: np.ndarray) -> np.ndarray:
        return centred @ (weights * (np.log(counts @ np.exp(costs)) - logarithms))

    def slopes(costs: np.ndarray) -> np.ndarray:
        each = counts * np.exp(costs)
        return centred @ (weights[:, None] * each / each.sum(1, keepdims=True))

    start = np.full(used.sum(), np.log(np.median(times) / 5))
    jac: Any = slopes  # whose stub takes a name alone
    found = least_squares(residuals, start, jac, loss="soft_l1", f_scale=0.3, max_nfev=300)
    costs = np.zeros(len(KINDS))
    costs[used] = np.exp(found.x) / typical[used] / NANOSECONDS
    return replace(
        machine,
        costs=tuple(
            sorted((k, float(f"{c:.4g}")) for k, c in zip(KINDS, costs.tolist(), strict=True))
        ),
        costs_cores=machine.cores,
        measured=rows,
        digest="fitted",
    )


def _counted(rows: Rows, machine: Machine) -> tuple[np.ndarray, ...]:
    """A row per measured lowering: its work, its time, the best of the problem, which problem."""
    works, table = [], []
    for number, (problem, seconds) in enumerate(rows.items()):
        known = serving(problem.operation)
        for name in [n for n in known if n in seconds and n not in GROUPED]:
            counted = work(name, problem, machine)
            works.append([counted.get(kind, 0) for kind in KINDS])
            table.append((seconds[name], min(seconds.values()), number))
    return np.array(works, float), *np.array(table, float).T


class Judged(NamedTuple):
    """How the choice does on a problem whose lowerings were all measured.

    Attributes:
        problem: The problem.
        chosen: The lowering that the predictions choose.
        best: The fastest.
        ratio: The chosen one's time over the best one's.
    """

    problem: Problem
    chosen: str
    best: str
    ratio: float


def judged(rows: Rows, machine: Machine) -> list[Judged]:
    """Hold the choice against what was measured, without what is known of the problem itself."""
    others = {problem: row for problem, row in machine.measured.items() if problem not in rows}
    digest = f"{machine.digest} without {hash(frozenset(rows))}"
    one = replace(machine, measured=others, digest=digest)
    policy = Policy(winograd=True, native=native.ready(), machine=one)
    found = []
    for problem, row in rows.items():
        names = [c.name for c in lowering.candidates(problem, policy) if c.name in row]
        chosen, seconds = names[0], {name: row[name] for name in names}
        best = min(seconds, key=lambda name: seconds[name])
        found.append(Judged(problem, chosen, best, seconds[chosen] / seconds[best]))
    return found


def crossed(machine: Machine, folds: int = 10) -> list[Judged]:
    """Hold the choice against a table's own problems, each part of them by the other parts alone.

    So the share that is chosen well is one of problems that the choice has not seen; nothing is
    measured.
    """
    problems = list(machine.measured.items())
    parts = [dict(problems[first::folds]) for first in range(folds)]
    return [one for part in parts if part for one in judged(part, machine)]


def share_near(found: Sequence[Judged]) -> float:
    """Return the share of problems whose choice is within a tenth of the best."""
    return sum(one.ratio <= NEAR for one in found) / len(found)


def blank() -> Machine:
    """Return this machine without costs."""
    vector = VECTORS.get(processor.instructions(), 4)
    return Machine(processor.name(), processor.cores(), processor.cache_bytes(), vector, ())


def write_table(path: Path, machine: Machine, rows: Rows, command: str) -> None:
    """Write a machine's table, whole or not at all: a line per measured problem.

    Raises:
        UserError: It can't be written there.
    """
    content = {
        "format": FORMAT,
        "name": f"{processor.name()}, {processor.instructions()}",
        "date": date.today().isoformat(),
        "command": command,
        "versions": versions(),
        "cores": machine.costs_cores,
        "vector": machine.vector,
        "costs": dict(machine.costs),
    }
    lines = [
        json.dumps(problem.to_dict() | {"seconds": {k: float(f"{s:.4g}") for k, s in row.items()}})
        for problem, row in rows.items()
    ]
    head = json.dumps(content, indent=1).removesuffix("\n}")
    with writing(f"the machine's table {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, f'{head},\n "problems": [\n' + ",\n".join(lines) + "\n ]\n}\n")
