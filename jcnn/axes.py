"""From what a caller may write to integers for each axis: windows, strides, padding."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from typing_extensions import TypeIs

Axes: TypeAlias = int | Sequence[int]
Padding: TypeAlias = str | int | Sequence[int | Sequence[int]]
Pairs: TypeAlias = tuple[tuple[int, int], ...]

ZEROS = "ZEROS"
FILLS = ("CIRCULAR", "REFLECT", "REPLICATE")
NAMES = ("VALID", "SAME", "SAME_LOWER", "FULL", *FILLS)


def known(*lengths: object) -> bool:
    """Whether lengths are numbers, and not the dimensions that ``jax.export`` leaves open."""
    return not any(hasattr(n, "dimension_as_value") for n in lengths)


def over(n: int) -> int:
    """``max(0, n)``, for an n that is none above 0 where it is not known."""
    return max(0, n) if known(n) else 0


def _positive(n: int) -> int:
    """``max(0, n)`` of any n."""
    if known(n):
        return max(0, n)
    from jax import core

    return core.max_dim(n, 0)


def integer(name: str, value: object, minimum: int | None = None) -> int:
    """Return ``value`` as an int of at least ``minimum``."""
    try:
        number = operator.index(value)  # pyright: ignore[reportArgumentType]
    except TypeError:
        raise TypeError(f"{name} must be an integer, found {value!r}") from None
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, found {value!r}")
    if minimum is not None and number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, found {number}")
    return number


def is_single(value: Any) -> TypeIs[int]:
    """Whether it is one integer: Python's, NumPy's, or an array of no axis."""
    return isinstance(value, int) or getattr(value, "ndim", None) == 0


def per_axis(name: str, value: Axes, rank: int, minimum: int | None = 1) -> tuple[int, ...]:
    """Return one integer per spatial axis, from one integer or one for each axis."""
    if is_single(value):
        return (integer(name, value, minimum),) * rank
    if not isinstance(value, Sequence | np.ndarray) or isinstance(value, str):
        raise TypeError(f"{name} must be an integer or a sequence of them, found {value!r}")
    if len(value) != rank:
        raise ValueError(
            f"{name} must have one entry for each of the {rank} spatial axes, found {tuple(value)}"
        )
    return tuple(integer(name, entry, minimum) for entry in value)


def pads(
    padding: Padding,
    size: tuple[int, ...],
    span: tuple[int, ...],
    strides: tuple[int, ...],
) -> tuple[tuple[int, int], ...]:
    """Resolve ``padding`` to pairs (before, after), one per spatial axis.

    "VALID" pads nothing; "FULL" pads the window's span less one on both sides; "SAME" pads so that
    the output has ``ceil(size / stride)`` elements, the odd element after, "SAME_LOWER" before.
    ``FILLS`` pad half the window's reach on both sides, the odd element after. Names are in any
    case.
    """
    if isinstance(padding, str):
        return _named_pads(padding, size, span, strides)
    if is_single(padding):
        both = integer("padding", padding)
        return ((both, both),) * len(size)
    if not isinstance(padding, Sequence | np.ndarray) or len(padding) != len(size):
        raise ValueError(
            f"padding must be a name ({', '.join(NAMES)}), an integer, or one pair for each of "
            f"the {len(size)} spatial axes, found {padding!r}"
        )
    return tuple(_pair(entry) for entry in padding)


def fill_of(padding: Padding) -> str:
    """What ``padding`` adds to an input."""
    name = padding.upper() if isinstance(padding, str) else ZEROS
    return name if name in FILLS else ZEROS


def resized(size: Sequence[int], edges: Pairs) -> tuple[int, ...]:
    """Return the size with ``edges`` added to it."""
    return tuple(n + lo + hi for n, (lo, hi) in zip(size, edges, strict=True))


def _pair(entry: int | Sequence[int]) -> tuple[int, int]:
    lo, hi = per_axis("padding", entry, 2, minimum=None)
    return lo, hi


def _named_pads(
    padding: str,
    size: tuple[int, ...],
    span: tuple[int, ...],
    strides: tuple[int, ...],
) -> tuple[tuple[int, int], ...]:
    match padding.upper():
        case "VALID":
            return ((0, 0),) * len(size)
        case "FULL":
            return tuple((n - 1, n - 1) for n in span)
        case "SAME" | "SAME_LOWER" as name:
            totals = (
                _positive((-(-s // stride) - 1) * stride + n - s)
                for s, n, stride in zip(size, span, strides, strict=True)
            )
            halves = ((total // 2, total - total // 2) for total in totals)
            return tuple((b, a) if name == "SAME_LOWER" else (a, b) for a, b in halves)
        case name if name in FILLS:
            return tuple(((n - 1) // 2, n // 2) for n in span)
    raise ValueError(f"padding must be one of {', '.join(NAMES)}, found {padding!r}")


def times(size: Sequence[int]) -> str:
    """Write a size with its lengths joined by "x".

    >>> times((28, 28, 1)), times((10,))
    ('28x28x1', '10')
    """
    return "x".join(str(n) for n in size)
