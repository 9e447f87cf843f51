"""What the choice knows of a lowering."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jcnn.lowering.costs import Work
from jcnn.lowering.machine import Machine
from jcnn.lowering.problem import Problem


@dataclass(frozen=True)
class Algorithm:
    """A lowering, as the choice sees it.

    Attributes:
        about: How it computes, for who asks why it was chosen.
        serves: Whether its module can compute a problem.
        work: What it does for a problem, on a machine with such caches.
        operations: How many operations its program is made of, as far as the window says.
        steady: Whether it is as fast inside XLA's loops: the choice doesn't know where it stands.
        local: Whether each result depends on the elements that its own sum names, and no others.
            Others, multiplied by zero or cancelling, would bring their NaN and infinities along.
        worthwhile: Whether it differs from another lowering, for it to be weighed.
    """

    about: str
    serves: Callable[[Problem], bool]
    work: Callable[[Problem, Machine], Work]
    operations: Callable[[Problem], int] = lambda problem: 1
    steady: Callable[[Problem], bool] = lambda problem: True
    local: Callable[[Problem], bool] = lambda problem: True
    worthwhile: Callable[[Problem], bool] = lambda problem: True
