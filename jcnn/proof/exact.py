r"""Is a rule right exactly, on the program that runs?

Every sum of whole numbers below :math:`2^{24}` is exact in float32, in whatever order and with or
without fused multiply-add; in float64 below :math:`2^{53}`. For whole-number inputs the result of a
bilinear, linear or selecting operation is therefore *the* number, and the comparison is ``==``, on
the compiled default program and at any shape.

The numbers are drawn from :math:`S = \{-s, \dots, s\}`, where s is as large as the bound on partial
sums allows. An element of a wrong bilinear rule differs from the right one by a polynomial of
degree two that isn't zero, which vanishes with a probability of at most :math:`2 / |S|` per draw
(Schwartz and Zippel), and so passes all draws with :math:`(2 / |S|)^{draws}` at most.

Minimal filtering divides, and isn't exact: where it runs, each element must lie within the rigorous
bound of :mod:`jcnn.proof.bounds`, and be nearer to the right whole number than to any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jcnn import lowering
from jcnn import ops as explicit_ops
from jcnn.proof.programs import PROGRAMS, Found
from jcnn.proof.recording import Call
from jcnn.proof.whole_numbers import Notes, Problem, problem_of


@dataclass(frozen=True)
class Difference:
    """One element that is not what it should be."""

    index: tuple[int, ...]
    expected: float
    found: float


@dataclass(frozen=True)
class ExactRow:
    """One tensor of one operation in one program.

    Attributes:
        operation: The call, with its shapes and options.
        tensor: "y", the gradient of an argument ("dx"), or of <gradients, v> ("second order dx").
        program: "jit", "scan", "vmap" or "remat": what the operation was compiled in.
        lowering: The lowerings that the correlations behind the tensor took.
        evidence: "==", or "nearest" where minimal filtering rounds: within its bound, and nearer to
            the right whole number than to any other; or "bound" where the program divides.
        shape: The tensor's shape.
        elements: How many were compared, over all draws.
        draws: How often the arguments were drawn.
        chance: With what probability a wrong element passes, at most.
        first: The first element that differs, or None.
        share: How much of its bound an element took at most; 0 where the comparison was ``==``.
    """

    operation: str
    tensor: str
    program: str
    lowering: tuple[str, ...]
    evidence: str
    shape: tuple[int, ...]
    elements: int
    draws: int
    chance: float
    first: Difference | None
    share: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every element is right."""
        return self.first is None


def check_exact(
    call: Call,
    *,
    ops: Any = explicit_ops,
    programs: Sequence[str] = tuple(PROGRAMS),
    draws: int = 2,
    seed: int = 0,
) -> list[ExactRow]:
    """Compare an operation's value and gradients with ``==`` in compiled programs.

    Args:
        call: The operation, one of :data:`jcnn.proof.oracle.OPERATIONS`, with shapes and options.
        ops: The operations under test, if not :mod:`jcnn.ops`.
        programs: In what to compile it: "jit" (value and gradients), "second order" (reverse over
            reverse), "scan", "vmap" (over the draws), "remat" (``jax.checkpoint``).
        draws: How often to draw whole numbers.
        seed: For the draws.

    Returns:
        A row per program and tensor.

    Raises:
        TooLargeError: No range of whole numbers keeps every partial sum exact.

    >>> import jcnn.proof.recording as recording
    >>> arrays = (("x", (2, 6, 6, 3), "float32"), ("w", (3, 3, 3, 4), "float32"))
    >>> rows = check_exact(recording.Call("correlate", arrays, (("padding", "SAME"),)))
    >>> {row.tensor for row in rows if row.passed and row.evidence == "=="} >= {"y", "dx", "dw"}
    True
    """
    with jax.enable_x64(any(dtype == "float64" for _, _, dtype in call.arrays)):
        problem = problem_of(call, ops)
        generator = np.random.default_rng(seed)
        drawn = [problem.draw(generator) for _ in range(draws)]
        rows: list[ExactRow] = []
        for order in (1, 2) if problem.order_two else (1,):
            chosen = [name for name in programs if (name == "second order") == (order == 2)]
            bounds: dict[frozenset[tuple[str, str]], Found] = {}
            expected = [problem.expected(order, *arrays) for arrays in drawn] if chosen else []
            for program in chosen:
                with lowering.noted() as notes:
                    found = PROGRAMS[program](problem, drawn)
                met = frozenset((operation, name) for operation, _, name in notes)
                if met not in bounds:
                    pairs = zip(expected, drawn, strict=True)
                    bounds[met] = [problem.bounds(e, notes, *arrays) for e, arrays in pairs]
                rows += _rows(problem, program, notes, expected, found, bounds[met])
        return rows


def _rows(
    problem: Problem,
    program: str,
    notes: Notes,
    expected: Found,
    found: Found,
    bounds: Found,
) -> Iterator[ExactRow]:
    for tensor in expected[0]:
        triples = [
            (problem.cast(e[tensor]), f[tensor], b.get(tensor))
            for e, f, b in zip(expected, found, bounds, strict=True)
        ]
        differences = (first_difference(*triple) for triple in triples)
        yield ExactRow(
            operation=str(problem.call),
            tensor=tensor,
            program=program,
            lowering=problem.lowerings(tensor, notes),
            evidence=problem.evidence(triples[0][2] is None),
            shape=triples[0][0].shape,
            elements=sum(e.size for e, _, _ in triples),
            draws=len(triples),
            chance=problem.chance ** len(triples),
            first=next((d for d in differences if d is not None), None),
            share=max(_share(*triple) for triple in triples),
        )


def first_difference(
    expected: np.ndarray, found: np.ndarray, bound: np.ndarray | None = None
) -> Difference | None:
    """Return the first element that is not equal, or not within its bound; NaN never is."""
    if found.shape != expected.shape:
        raise ValueError(f"shape {found.shape} for {expected.shape}")
    right = found == expected if bound is None else _error(expected, found) <= bound
    different = ~right
    if not different.any():
        return None
    index = np.unravel_index(int(np.argmax(different)), different.shape)
    return Difference(tuple(map(int, index)), float(expected[index]), float(found[index]))


def _error(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    return np.abs(found.astype(np.float64) - expected.astype(np.float64))


def _share(expected: np.ndarray, found: np.ndarray, bound: np.ndarray | None) -> float:
    if bound is None or not bound.size:
        return 0.0
    error = _error(expected, found)
    return float(np.max(np.where(error == 0, 0, error / np.maximum(bound, np.finfo(float).tiny))))
