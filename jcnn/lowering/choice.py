"""Which lowering an operation takes on which platform, and why.

The choice is a pure function of the problem, the machine's table and the policy: same machine, same
choice. Of the lowerings that may serve, the one that costs least; what was measured on the machine
goes before what is predicted.
"""

from __future__ import annotations

from functools import lru_cache
from statistics import geometric_mean
from typing import NamedTuple

import jax.numpy as jnp

from jcnn.axes import known
from jcnn.geometry import Geometry
from jcnn.lowering.algorithms import eligible, is_native, rounded_share, serving
from jcnn.lowering.native_costs import knows_native
from jcnn.lowering.nearby import seconds
from jcnn.lowering.policy import Policy
from jcnn.lowering.problem import POOLS, Problem

MILLISECONDS = 1e3
# Off the CPU a platform's library recognises XLA's own convolution: the place for a platform of
# which more is known.
ELSEWHERE = ("xla", "the platform's library recognises XLA's convolution")


class Choice(NamedTuple):
    """A lowering's name, and the reason it was taken."""

    name: str
    why: str


class Candidate(NamedTuple):
    """A lowering that may serve, and the seconds that it takes, predicted and measured."""

    name: str
    predicted: float
    measured: float | None

    @property
    def seconds(self) -> float:
        """What is known best."""
        return self.predicted if self.measured is None else self.measured


def choose(
    operation: str,
    g: Geometry,
    channels: int,
    features: int,
    *,
    batch: int = 64,
    platform: str = "cpu",
    dtype: jnp.dtype | type | str = jnp.float32,
) -> Choice:
    """The lowering for an operation between images of ``channels`` and outputs of ``features``.

    It is chosen under the policy that holds here; see :func:`decide`.
    """
    problem = Problem(operation, g, batch, channels, features, jnp.dtype(dtype).name)
    return decide(problem, Policy.current(), platform)


def decide(problem: Problem, policy: Policy, platform: str = "cpu") -> Choice:
    """The lowering for a problem, and why.

    What is forced, where it can serve, and compiled loops where they are allowed; off the CPU,
    XLA's own convolution. Double precision is asked for to be exact: there minimal filtering, which
    cancels a digit or two, is not chosen. Nor is it under
    ``jax.default_matmul_precision("highest")``, where every output depends on its own window alone,
    and nor are folds that multiply others by zero. Along time (one spatial axis) such folds are
    never chosen: a NaN would reach outputs before it.
    """
    wanted = policy.wanted(problem.operation)
    asked = serving(problem.operation).get(wanted or "")
    loops = bool(policy.native) and platform == "cpu"
    if wanted and asked and asked.serves(problem) and (loops or not is_native(wanted)):
        return Choice(wanted, "forced")
    if problem.operation in POOLS and (platform != "cpu" or not problem.known):
        return Choice(eligible(problem, policy)[0], "off the CPU, and of any size, the first")
    if platform != "cpu":
        return Choice(*ELSEWHERE)
    if not problem.known:
        return _for_any_size(problem)
    if problem.multiplications == 0:
        first = eligible(problem, policy)[0] if problem.operation in POOLS else "xla"
        return Choice(first, "nothing to compute")
    best, *others = candidates(problem, policy)
    return Choice(best.name, _reason(problem.operation, best, others))


@lru_cache(maxsize=4096)
def candidates(problem: Problem, policy: Policy) -> tuple[Candidate, ...]:
    """The lowerings that may serve a problem on a CPU, the cheapest first."""
    machine = policy.on
    measured = machine.measured.get(problem, {})
    found = [
        _candidate(name, problem, policy, measured.get(name))
        for name in eligible(problem, policy)
        if knows_native(machine) or not is_native(name)
    ]
    # Predictions are not compared with measurements, of which they may be off by a quarter.
    known = [c for c in found if c.measured is not None]
    if known:
        found = [_beside(known, c) if is_native(c.name) else c for c in found]
        found.sort(key=lambda c: (c.measured is None and not is_native(c.name), c.seconds))
    else:
        found.sort(key=lambda c: c.seconds)
    return tuple(found)


def _candidate(name: str, problem: Problem, policy: Policy, measured: float | None) -> Candidate:
    """Of both times, of float32, no more than a share is left where factors are rounded."""
    share = rounded_share(name, problem, policy)
    predicted = share * seconds(name, problem, policy)
    return Candidate(name, predicted, None if measured is None else share * measured)


def _beside(known: list[Candidate], one: Candidate) -> Candidate:
    """A lowering of which no table may know, predicted as far off as those that were measured.

    Compiled loops are built by the user, and take half as long where they serve at all.
    """
    off = geometric_mean([c.seconds / c.predicted for c in known])
    return one._replace(predicted=one.predicted * off)


def _reason(operation: str, best: Candidate, others: list[Candidate]) -> str:
    about = serving(operation)[best.name].about
    if not others:
        return f"{about}; nothing else may serve"
    word = "predicted" if best.measured is None else "measured"
    times = (
        f"{word} {_milliseconds(best.seconds)}, {others[0].name} {_milliseconds(others[0].seconds)}"
    )
    return f"{about}: {times}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * MILLISECONDS:.3g} ms"


def _for_any_size(problem: Problem) -> Choice:
    """What is right whatever the dimensions are that ``jax.export`` leaves open."""
    g = problem.geometry
    if problem.operation == "kernel_gradient":
        name = "xla" if g.groups > 1 else "transposed"
    else:
        channels = problem.channels // g.groups
        depthwise = g.groups > 1 and known(*g.size, channels) and channels <= 4
        name = "direct" if depthwise else "xla"
    return Choice(name, "dimensions that are not known: no blocks, nothing to weigh")
