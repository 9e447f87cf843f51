"""What was measured near a problem corrects what is predicted for it.

Costs per kind of work know nothing of how well an algorithm fills registers and caches at some
shape; a neighbour that was measured does. Of each lowering, the logarithms of measured over
predicted times are averaged, weighted by how near the problems lie.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, log, prod

from jcnn.lowering.algorithms import predicted, serving
from jcnn.lowering.machine import Machine
from jcnn.lowering.policy import Policy
from jcnn.lowering.problem import Problem

# Problems this far apart count exp(-1/2); of twice the channels they are 0.4 apart.
REACH = 0.7
# The weight of the prediction itself, as of so many neighbours that it fits.
TRUST = 2.0
# How much apart a doubling makes problems, in batch, positions, taps, channels and features; and
# how much a stride, another number of axes, a dilation, groups.
_SCALES = (0.25, 0.25, 0.4, 0.4, 0.4, 1.4, 1.5, 1.0, 2.0)

Place = tuple[float, ...]


def place(p: Problem) -> Place:
    """Where a problem lies: near problems are like it."""
    g = p.geometry
    counts = (p.batch, prod(g.output), g.taps, p.channels // g.groups, p.features // g.groups)
    kinds = (max(g.strides), 2 ** (g.rank == 1), 2 ** (max(g.dilation) > 1), 2 ** (g.groups > 1))
    logarithms = (log(max(n, 1), 2) for n in (*counts, *kinds))
    return tuple(s * n for s, n in zip(_SCALES, logarithms, strict=True))


def seconds(name: str, problem: Problem, policy: Policy) -> float:
    """What a lowering takes, predicted from its work and corrected by its neighbours."""
    here, total, weights = place(problem), 0.0, TRUST
    for there, error in _errors(policy.on).get((problem.operation, name), ()):
        apart = sum((a - b) ** 2 for a, b in zip(here, there, strict=True))
        weight = exp(-apart / (2 * REACH**2))
        total, weights = total + weight * error, weights + weight
    return predicted(name, problem, policy) * exp(total / weights)


@lru_cache(maxsize=8)
def _errors(machine: Machine) -> dict[tuple[str, str], list[tuple[Place, float]]]:
    """By operation and lowering: the places that were measured, and by how much they were off."""
    policy = Policy(winograd=True, machine=machine)
    found: dict[tuple[str, str], list[tuple[Place, float]]] = {}
    for problem, row in machine.measured.items():
        for name, time in row.items():
            if name in serving(problem.operation):
                error = log(time / predicted(name, problem, policy))
                found.setdefault((problem.operation, name), []).append((place(problem), error))
    return found
