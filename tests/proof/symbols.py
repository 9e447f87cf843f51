"""Whole numbers that stand for all whole numbers: Python's own arithmetic, proved by z3.

A :class:`Symbol` goes through the project's functions in place of an int. Where they compare, as
``max`` does, a path forks: :func:`prove` runs the function once per path, and asks z3 on each
whether the claim can fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import z3


class Symbol:
    """A whole number that is not known; divisors must be known and positive."""

    def __init__(self, expression: Any, path: Path) -> None:
        self.expression, self.path = expression, path

    def _with(self, expression: Any) -> Symbol:
        return Symbol(expression, self.path)

    def __add__(self, other: Any) -> Symbol:
        return self._with(self.expression + _plain(other))

    def __sub__(self, other: Any) -> Symbol:
        return self._with(self.expression - _plain(other))

    def __rsub__(self, other: Any) -> Symbol:
        return self._with(_plain(other) - self.expression)

    def __mul__(self, other: Any) -> Symbol:
        return self._with(self.expression * _plain(other))

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Symbol:
        return self._with(-self.expression)

    def __floordiv__(self, divisor: int) -> Symbol:
        assert divisor > 0  # z3 rounds down for known, positive divisors alone
        return self._with(self.expression / divisor)

    def __mod__(self, divisor: int) -> Symbol:
        assert divisor > 0
        return self._with(self.expression % divisor)

    def __gt__(self, other: Any) -> bool:
        return self.path.decide(self.expression > _plain(other))

    def __lt__(self, other: Any) -> bool:
        return self.path.decide(self.expression < _plain(other))

    def __ge__(self, other: Any) -> bool:
        return self.path.decide(self.expression >= _plain(other))

    def __le__(self, other: Any) -> bool:
        return self.path.decide(self.expression <= _plain(other))

    def __bool__(self) -> bool:
        return self.path.decide(self.expression != 0)

    def __hash__(self) -> int:
        return hash(self.expression)


class Path:
    """One way through a function: what was decided at each comparison."""

    def __init__(self, decisions: list[bool]) -> None:
        self.decisions, self.conditions = decisions, []
        self.taken = 0

    def decide(self, condition: Any) -> bool:
        """Take the next decision; the first time, the true one."""
        if self.taken == len(self.decisions):
            self.decisions.append(True)
        chosen = self.decisions[self.taken]
        self.taken += 1
        self.conditions.append(condition if chosen else z3.Not(condition))
        return chosen


def _plain(value: Any) -> Any:
    return value.expression if isinstance(value, Symbol) else value


def equal(a: Any, b: Any) -> Any:
    """a = b, to be proved."""
    return _plain(a) == _plain(b)


def at_least(a: Any, b: Any) -> Any:
    """a >= b, to be proved or assumed."""
    return _plain(a) >= _plain(b)


def paths(function: Callable[[Path], Any]) -> Iterator[tuple[Path, Any]]:
    """Every way through a function, with what it returns."""
    decisions: list[bool] = []
    while True:
        path = Path(list(decisions))
        yield path, function(path)
        decisions = path.decisions
        while decisions and not decisions[-1]:
            decisions.pop()
        if not decisions:
            return
        decisions[-1] = False


def prove(claim: Callable[..., tuple[list[Any], list[Any]]], *names: str) -> None:
    """Show that what a claim concludes follows from what it assumes, for all whole numbers.

    ``claim(*symbols)`` returns assumptions and conclusions.
    """

    def run(path: Path) -> tuple[list[Any], list[Any]]:
        return claim(*(Symbol(z3.Int(name), path) for name in names))

    reachable = False
    for path, (assumed, concluded) in paths(run):
        solver = z3.Solver()
        solver.add(*path.conditions, *assumed)
        if solver.check() == z3.unsat:
            continue
        reachable = True
        solver.add(z3.Not(z3.And(*concluded)))
        outcome = solver.check()
        assert outcome == z3.unsat, solver.model() if outcome == z3.sat else outcome
    assert reachable, "the assumptions contradict each other"
