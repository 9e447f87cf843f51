r"""Is a rule right exactly, on the program that runs?

Every sum of whole numbers below :math:`2^{24}` is exact in float32, in whatever order and with or
without fused multiply-add; in float64 below :math:`2^{53}`. For whole-number inputs the result of a
bilinear, linear or selecting operation is therefore *the* number, and the comparison is ``==``, on
the compiled default program and at any shape.

The numbers are drawn from :math:`S = \{-s, \dots, s\}`, where s is as large as the bound on partial
sums allows. An element of a bilinear rule that adds wrong products differs from the right one by a
polynomial of degree two that isn't zero, which vanishes with a probability of at most
:math:`2 / |S|` per draw (Schwartz and Zippel), and so passes all draws with
:math:`(2 / |S|)^{draws}` at most.

For other comparisons no such probability is claimed. A wrong selection is no polynomial: besides
those draws selections meet numbers that are all zero, all one and all different, with cotangents
that are nowhere zero. In half precision a sum is rounded once before it is compared, and what is
wrong by less than that doesn't show.

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
from jcnn.axes import integer
from jcnn.proof.oracle import OPERATIONS
from jcnn.proof.programs import PROGRAMS, SECOND_ORDER, Found
from jcnn.proof.recording import Call
from jcnn.proof.whole_numbers import (
    DIFFERENTIATED_TWICE,
    EXACT_BELOW,
    Notes,
    Problem,
    is_floating,
    problem_of,
)


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
        shown: What elements that are right have been shown to be, in words.
        chance: With what probability an element that adds wrong products passes, at most; None
            where that is not bounded, as for selections, in half precision and within a bound.
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
    shown: str
    chance: float | None
    first: Difference | None
    share: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every element is right; of none, nothing has been shown."""
        return self.elements > 0 and self.first is None


def check_exact(
    call: Call,
    *,
    ops: Any = explicit_ops,
    programs: Sequence[str] | None = None,
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
        TypeError: The arrays are not of one of the dtypes that hold whole numbers.
        ValueError: No such operation or program, an array without an element, or ``draws`` or
            ``seed`` is too small.
        TooLargeError: No range of whole numbers keeps every partial sum exact.

    >>> import jcnn.proof.recording as recording
    >>> arrays = (("x", (2, 6, 6, 3), "float32"), ("w", (3, 3, 3, 4), "float32"))
    >>> rows = check_exact(recording.Call("correlate", arrays, (("padding", "SAME"),)))
    >>> {row.tensor for row in rows if row.passed and row.evidence == "=="} >= {"y", "dx", "dw"}
    True
    """
    dtype = _check_call(call)
    programs = _checked_programs(programs, dtype)
    draws = integer("check_exact: draws", draws, 1)
    seed = integer("check_exact: seed", seed, 0)
    with jax.enable_x64(dtype == "float64"):
        problem = problem_of(call, ops)
        drawn = problem.draws(np.random.default_rng(seed), draws)
        rows: list[ExactRow] = []
        for order in (1, 2):
            chosen = [name for name in programs if (name == SECOND_ORDER) == (order == 2)]
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


def _check_call(call: Call) -> str:
    """Return the dtype of a call's arrays; refuse what has no formula, or nothing to compare."""
    if call.op not in OPERATIONS:
        raise ValueError(
            f"check_exact: expected one of {', '.join(sorted(OPERATIONS))}, found '{call.op}'"
        )
    free = [array for array in call.arrays if is_floating(array[2])]
    dtypes = {dtype for _, _, dtype in free}
    if len(dtypes) != 1 or not dtypes <= EXACT_BELOW.keys():
        raise TypeError(
            f"check_exact: {call.op}'s arrays must be of one of {', '.join(EXACT_BELOW)}, "
            f"found {', '.join(sorted(dtypes)) or 'none'}"
        )
    for name, shape, _ in free:
        if 0 in shape:
            raise ValueError(f"check_exact: {name} must have an element, found shape {shape}")
    return dtypes.pop()


def _checked_programs(programs: Sequence[str] | None, dtype: str) -> list[str]:
    known = [name for name in PROGRAMS if name != SECOND_ORDER or dtype in DIFFERENTIATED_TWICE]
    if programs is None:
        return known
    if isinstance(programs, str) or not programs or not set(programs) <= set(known):
        raise ValueError(
            f"check_exact: programs must be a list of {', '.join(known)} for arrays of {dtype}, "
            f"found {programs!r}"
        )
    return list(programs)


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
        equal = triples[0][2] is None
        yield ExactRow(
            operation=str(problem.call),
            tensor=tensor,
            program=program,
            lowering=problem.lowerings(tensor, notes),
            evidence=problem.evidence(equal),
            shape=triples[0][0].shape,
            elements=sum(e.size for e, _, _ in triples),
            draws=len(triples),
            shown=problem.shown(equal),
            chance=problem.chance(equal, len(triples)),
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
