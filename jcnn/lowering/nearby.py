"""What was measured near a problem corrects what is predicted for it.

Costs per kind of work know nothing of how well an algorithm fills registers and caches at some
shape; a neighbour that was measured does. Of each lowering, the logarithms e of measured over
predicted times are taken for a Gaussian process over the places z of problems, whose mean at a new
one is the correction (kriging):

    e(z) = k(z, Z) (k(Z, Z) + NOISE I)^-1 e(Z),    k(a, b) = (1 + r) exp(-r),  r = sqrt(3) |a - b|

Far from all that was measured it is 0, and the prediction stands; of neighbours that say the same,
each says less than it would alone.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, log, prod

import numpy as np

from jcnn.lowering.algorithms import predicted, serving
from jcnn.lowering.machine import Machine
from jcnn.lowering.policy import Policy
from jcnn.lowering.problem import Problem

# The variance of what no neighbour tells, and of measuring, as a share of that of the errors.
NOISE = 0.15
# How much apart a doubling makes problems, in batch, positions, taps, channels and features; and
# how much a stride, another number of axes, a dilation, groups.
_SCALES = (0.13, 0.1, 0.3, 0.5, 0.5, 0.6, 3.0, 1.5, 3.0)

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
    before = predicted(name, problem, policy)
    if (fitted := _fitted(policy.on, problem.operation, name)) is None:
        return before
    there, weights = fitted
    return before * exp(float((_likeness(np.array([place(problem)]), there) @ weights)[0]))


def _likeness(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How much errors at places (n, 9) and (m, 9) go together, (n, m): a Matérn kernel of 3/2."""
    r = np.sqrt(3 * ((a[:, None] - b) ** 2).sum(-1))
    return (1 + r) * np.exp(-r)


@lru_cache(maxsize=512)
def _fitted(machine: Machine, operation: str, name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Where a lowering was measured, and the weight of each place; None where it never was."""
    if not (found := _errors(machine).get((operation, name))):
        return None
    there = np.array([where for where, _ in found])
    covariance = _likeness(there, there) + NOISE * np.eye(len(found))
    return there, np.linalg.solve(covariance, [error for _, error in found])


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
