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
LONGEST = 2**31 - 1
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


def is_traced(value: object) -> bool:
    """Whether JAX traces it, so that it is no number yet."""
    from jax.core import Tracer

    return isinstance(value, Tracer)


def wrong_kind(name: str, kind: str, value: Any) -> TypeError:
    """What to raise for an option that is not ``kind``."""
    if is_traced(value):
        return TypeError(
            f"{name} must be {kind} when the operation is traced, found the traced "
            f"{value.aval.str_short()}; close over it, or name it in jit's static_argnames"
        )
    return TypeError(f"{name} must be {kind}, found {value!r}")


def integer(name: str, value: object, minimum: int | None = None) -> int:
    """Return ``value`` as an int of at least ``minimum``."""
    try:
        number = operator.index(value)  # pyright: ignore[reportArgumentType]
    except TypeError:
        raise wrong_kind(name, "an integer", value) from None
    if isinstance(value, bool):
        raise wrong_kind(name, "an integer", value)
    if minimum is not None and number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, found {number}")
    return number


def extent(name: str, value: object, minimum: int | None = None) -> int:
    """As :func:`integer`, of a number of elements along an axis, of which none has more."""
    number = integer(name, value, minimum)
    if abs(number) > LONGEST:
        raise ValueError(f"{name} must be an integer of 32 bits, found {number}")
    return number


def boolean(name: str, value: Any) -> bool:
    """Return ``value`` as a bool."""
    if is_traced(value) or np.shape(value) or np.asarray(value).dtype.kind != "b":
        raise wrong_kind(name, "True or False", value)
    return bool(value)


def is_single(value: Any) -> TypeIs[int]:
    """Whether it is one integer: Python's, NumPy's, or an array of no axis."""
    return isinstance(value, int) or getattr(value, "ndim", None) == 0


def per_axis(name: str, value: Axes, rank: int, minimum: int | None = 1) -> tuple[int, ...]:
    """Return one integer per spatial axis, from one integer or one for each axis."""
    if is_single(value):
        return (extent(name, value, minimum),) * rank
    entries = _entries(value)
    if entries is None or isinstance(value, str):
        raise wrong_kind(name, "an integer or a sequence of them", value)
    if len(entries) != rank:
        raise ValueError(
            f"{name} must have one entry for each of the {rank} spatial axes, "
            f"found {tuple(entries)}"
        )
    return tuple(extent(name, entry, minimum) for entry in entries)


def _entries(value: Any) -> Sequence[Any] | np.ndarray | None:
    """A sequence, or an array of any kind as NumPy's; None for anything else."""
    if isinstance(value, Sequence | np.ndarray):
        return value
    return np.asarray(value) if hasattr(value, "ndim") and not is_traced(value) else None


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
    return integer_pads(padding, len(size), f"a name ({', '.join(NAMES)}), an integer")


def integer_pads(padding: Padding, rank: int, one: str = "an integer") -> Pairs:
    """Resolve ``padding`` of integers to pairs; ``one`` says what may stand for all axes."""
    kind = f"{one}, or one pair for each of the {rank} spatial axes"
    if is_single(padding):
        both = extent("padding", padding)
        return ((both, both),) * rank
    entries = None if isinstance(padding, str) else _entries(padding)
    if entries is None:
        raise wrong_kind("padding", kind, padding)
    if len(entries) != rank:
        raise ValueError(f"padding must be {kind}, found {padding!r}")
    return tuple(_pair(entry) for entry in entries)


def fill_of(padding: Padding) -> str:
    """What ``padding`` adds to an input."""
    name = padding.upper() if isinstance(padding, str) else ZEROS
    return name if name in FILLS else ZEROS


def resized(size: Sequence[int], edges: Pairs) -> tuple[int, ...]:
    """Return the size with ``edges`` added to it."""
    return tuple(n + lo + hi for n, (lo, hi) in zip(size, edges, strict=True))


def check_filled(mode: str, size: Sequence[int], edges: Pairs) -> None:
    """Refuse to fill a border with elements of an axis that has none, or of an unknown number."""
    for n, pair in zip(size, edges, strict=True):
        if mode != ZEROS and any(pair) and not (known(n) and n > 0):
            raise ValueError(
                f"padding {mode} needs lengths that are known, and at least 1, found {times(size)}"
            )


def _pair(entry: Any) -> tuple[int, int]:
    both = (entry, entry) if is_single(entry) else _entries(entry)
    kind = "an integer or a pair (before, after) for each axis"
    if both is None or isinstance(both, str | bytes):
        raise wrong_kind("padding", kind, entry)
    if len(both) != 2:
        raise ValueError(f"padding must be {kind}, found {entry!r}")
    # A caller may have reckoned with lengths that are open.
    lo, hi = (extent("padding", n) if known(n) else n for n in both)
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
