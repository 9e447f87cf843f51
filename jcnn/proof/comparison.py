"""Two arrays held against each other, element by element."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

# What every report on a gradient holds it against first.
DERIVED = "jax.grad"
NOTHING = "no element of a gradient was compared, so nothing is shown"
# Where terms cancel, so many units of the last place are left in place of zero. Those of a gradient
# are larger than the number itself by as much as what lies between amplifies.
OF_DIFFERENCES = 64
OF_GRADIENTS = 4096


class Tolerance(NamedTuple):
    """How far an element may be off: ``rtol * |expected| + atol * max |expected|``.

    The largest is that of the whole tensor, so that what is compared may be in any unit.
    """

    rtol: float
    atol: float


def noise_of(size: float, step: float, units: int) -> float:
    """What rounding leaves of the derivative of a number of this size, where it should be zero.

    Args:
        size: Of the number, or of the terms that it is the sum of; 0 tells nothing of those, and
            counts as 1.
        step: That it changes along: of a difference, or the size of what is differentiated by.
        units: ``OF_DIFFERENCES`` or ``OF_GRADIENTS``, in the last place.
    """
    left = units * float(np.finfo(np.float64).eps) * (size or 1.0) / step
    return left if np.isfinite(left) else 0.0


@dataclass(frozen=True)
class Row:
    """One tensor against one oracle.

    Attributes:
        tensor: What was compared, for example ``conv_1.w``.
        against: The oracle: "value", "jax.grad", "differences" or "second order".
        shape: The tensor's shape.
        elements: How many of its elements were compared.
        absolute_error: The largest absolute difference.
        relative_error: The largest difference relative to the expected element.
        worst: Where the element stands whose error is largest in units of its tolerance.
        found: That element.
        expected: What the oracle says of it.
        passed: Whether every element that there is is within tolerance; False where all were left
            out.
        left_out: How many elements were not compared, because they stand at kinks.
    """

    tensor: str
    against: str
    shape: tuple[int, ...]
    elements: int
    absolute_error: float
    relative_error: float
    worst: tuple[int, ...]
    found: float
    expected: float
    passed: bool
    left_out: int = 0

    @property
    def shows_nothing(self) -> bool:
        """Whether all that there was to compare was left out."""
        return bool(self.left_out) and not self.elements

    @property
    def verdict(self) -> str:
        """In a word; of no element there is none."""
        return "-" if not self.elements else "ok" if self.passed else "FAIL"


@dataclass(frozen=True)
class Report:
    """All rows of a check; true if every one passed.

    Attributes:
        rows: One for each tensor and oracle.
        notes: What an oracle could not see, each in a sentence.
    """

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every row passed; without an element of a gradient nothing has been shown."""
        return self.shows and all(row.passed for row in self.rows)

    @property
    def shows(self) -> bool:
        """Whether an element of a gradient was compared."""
        return any(row.elements for row in self.rows if row.against == DERIVED)

    @property
    def wrong(self) -> bool:
        """Whether an element of a row is not within its tolerance."""
        return not all(row.passed or row.shows_nothing for row in self.rows)

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        lines = [
            f"{row.verdict:4} {row.tensor} against {row.against}: "
            f"{row.elements} of {row.shape}, largest error {row.absolute_error:.2e} absolute, "
            f"{row.relative_error:.2e} relative; at {row.worst} found {row.found:.12g}, "
            f"expected {row.expected:.12g}"
            + (f"; {row.left_out} at kinks left out" if row.left_out else "")
            for row in self.rows
        ]
        return "\n".join([*lines, *self.notes, *([] if self.shows else [NOTHING])])


def compare(
    tensor: str,
    against: str,
    found: np.ndarray,
    expected: np.ndarray,
    tolerance: Tolerance,
    *,
    noise: float = 0.0,
    places: Iterable[tuple[int, ...]] | None = None,
    shape: tuple[int, ...] | None = None,
) -> Row:
    """Compare each element with ``rtol * |expected| + atol * max |expected| + noise``.

    Nothing in that bound grows with how many elements there are, and all of it with their unit.
    NaN fails on either side, and an infinity unless both sides hold the same.

    Args:
        tensor: The name to report.
        against: The oracle's name.
        found: The array under test.
        expected: The oracle's, of the same shape; what is masked in it is left out.
        tolerance: Relative to the element, and to the largest.
        noise: See :func:`noise_of`; without it, where zeros alone are expected, zeros must be.
        places: Where the elements stand in the whole tensor, if they are a sample of it.
        shape: The whole tensor's shape, if they are a sample of it.

    Raises:
        ValueError: The shapes differ.
    """
    kept = np.flatnonzero(~np.ma.getmaskarray(expected))
    found, expected = (np.asarray(a, dtype=np.float64) for a in (found, expected))
    if found.shape != expected.shape:
        raise ValueError(f"{tensor}: shape {found.shape} against {against}'s {expected.shape}")
    shape, whole, left_out = shape or found.shape, found.shape, found.size - len(kept)
    if not len(kept):
        return Row(tensor, against, shape, 0, 0.0, 0.0, (), 0.0, 0.0, not left_out, left_out)
    found, expected = found.ravel()[kept], expected.ravel()[kept]
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.where(found == expected, 0.0, np.abs(found - expected))
        relative = np.where(error == 0, 0.0, error / np.abs(expected))
        largest = np.max(np.abs(expected), where=np.isfinite(expected), initial=0.0)
        bound = tolerance.rtol * np.abs(expected) + tolerance.atol * largest + noise
        excess = np.where(error == 0, 0.0, error / bound)
    outside = ~(excess <= 1)
    flat = int(np.argmax(np.where(np.isnan(excess), np.inf, excess)))
    at = int(kept[flat])
    index = tuple(int(i) for i in np.unravel_index(at, whole))
    return Row(
        tensor=tensor,
        against=against,
        shape=shape,
        elements=found.size,
        absolute_error=float(error.max()),
        relative_error=float(relative.max()),
        worst=list(places)[at] if places is not None else index,
        found=float(found[flat]),
        expected=float(expected[flat]),
        passed=not outside.any(),
        left_out=left_out,
    )
