"""Where a window stands: parsed and placed once, for operations, layers and lowerings alike."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

import numpy as np

Axes: TypeAlias = int | Sequence[int]
Padding: TypeAlias = str | int | Sequence[int | Sequence[int]]


@dataclass(frozen=True)
class Geometry:
    """The static shape of a sliding window, one entry per spatial axis.

    Attributes:
        size: Spatial size of the input, in elements.
        window: Spatial size of the kernel or pool.
        strides: Step between neighbouring windows.
        padding: Elements added before and after each axis; never negative.
        dilation: Step between neighbouring elements of one window.
        groups: Number of channel groups that do not see each other.
    """

    size: tuple[int, ...]
    window: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int = 1

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.window)

    @property
    def span(self) -> tuple[int, ...]:
        """Input elements from the first to the last of one window, along each axis."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.window, self.dilation, strict=True))

    @property
    def padded(self) -> tuple[int, ...]:
        """Spatial size of the input with its padding."""
        return tuple(s + lo + hi for s, (lo, hi) in zip(self.size, self.padding, strict=True))

    @property
    def output(self) -> tuple[int, ...]:
        """Spatial size of the output."""
        return tuple(
            (n - span) // stride + 1
            for n, span, stride in zip(self.padded, self.span, self.strides, strict=True)
        )

    @property
    def rest(self) -> tuple[int, ...]:
        """Elements of the padded input behind the last window."""
        return tuple(
            n - span - stride * (m - 1)
            for n, span, stride, m in zip(
                self.padded, self.span, self.strides, self.output, strict=True
            )
        )

    @property
    def excess(self) -> tuple[tuple[int, int], ...]:
        """Padding beyond a window's reach (its span less one), before and after each axis.

        Windows that lie in it wholly see no input; XLA's gradients of such a convolution would
        have negative padding.
        """
        return tuple(
            (over(lo - span + 1), over(hi - span + 1))
            for span, (lo, hi) in zip(self.span, self.padding, strict=True)
        )

    def within_reach(self) -> Geometry:
        """The same windows over an input that holds the excess already."""
        edges = list(zip(self.padding, self.excess, strict=True))
        return replace(
            self,
            size=tuple(n + a + b for n, (a, b) in zip(self.size, self.excess, strict=True)),
            padding=tuple((lo - a, hi - b) for (lo, hi), (a, b) in edges),
        )

    @property
    def taps(self) -> int:
        """Number of elements in one window."""
        return prod(self.window)


def known(*lengths: object) -> bool:
    """Whether lengths are numbers, and not the dimensions that ``jax.export`` leaves open."""
    return all(isinstance(n, int) for n in lengths)


def over(n: int) -> int:
    """``max(0, n)``, for an n that is none above 0 where it is not known."""
    return max(0, n) if known(n) else 0


def integer(name: str, value: object, minimum: int) -> int:
    """Return ``value`` as an int of at least ``minimum``."""
    try:
        number = operator.index(value)  # pyright: ignore[reportArgumentType]
    except TypeError:
        raise TypeError(f"{name} must be an integer, found {value!r}") from None
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, found {value!r}")
    if number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, found {number}")
    return number


def per_axis(name: str, value: Axes, rank: int, minimum: int = 1) -> tuple[int, ...]:
    """Return one integer per spatial axis, from one integer or one for each axis."""
    if isinstance(value, int | np.integer):
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
    the output has ``ceil(size / stride)`` elements, the odd element after.
    """
    if isinstance(padding, str):
        return _named_pads(padding, size, span, strides)
    if isinstance(padding, int | np.integer):
        both = integer("padding", padding, 0)
        return ((both, both),) * len(size)
    if not isinstance(padding, Sequence | np.ndarray) or len(padding) != len(size):
        raise ValueError(
            f"padding must be 'VALID', 'SAME', 'FULL', an integer, or one pair for each of "
            f"the {len(size)} spatial axes, found {padding!r}"
        )
    return tuple(_pair(entry) for entry in padding)


def _pair(entry: int | Sequence[int]) -> tuple[int, int]:
    lo, hi = per_axis("padding", entry, 2, minimum=0)
    return lo, hi


def _named_pads(
    padding: str,
    size: tuple[int, ...],
    span: tuple[int, ...],
    strides: tuple[int, ...],
) -> tuple[tuple[int, int], ...]:
    match padding:
        case "VALID":
            return ((0, 0),) * len(size)
        case "FULL":
            return tuple((n - 1, n - 1) for n in span)
        case "SAME":
            totals = (
                max((-(-s // stride) - 1) * stride + n - s, 0)
                for s, n, stride in zip(size, span, strides, strict=True)
            )
            return tuple((total // 2, total - total // 2) for total in totals)
    raise ValueError(f"padding must be 'VALID', 'SAME' or 'FULL', found {padding!r}")


def place(
    size: tuple[int, ...],
    window: Axes,
    strides: Axes | None,
    padding: Padding,
    dilation: Axes = 1,
    groups: int = 1,
) -> Geometry:
    """Resolve a sliding window; ``strides=None`` means the window itself (pools)."""
    rank = len(size)
    window = per_axis("window", window, rank)
    strides = window if strides is None else per_axis("strides", strides, rank)
    dilation = per_axis("dilation", dilation, rank)
    groups = integer("groups", groups, 1)
    span = tuple(d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True))
    resolved = Geometry(size, window, strides, pads(padding, size, span, strides), dilation, groups)
    if any(known(n) and n < 1 for n in resolved.output):
        raise ValueError(_too_large(resolved))
    return resolved


def _too_large(g: Geometry) -> str:
    dilated = f" ({times(g.span)} with its dilation)" if g.span != g.window else ""
    (lo, hi), *others = dict.fromkeys(g.padding)
    shown = lo if lo == hi and not others else [list(pair) for pair in g.padding]
    return (
        f"window {times(g.window)}{dilated} is larger than its input {times(g.size)} "
        f"(with padding {shown})"
    )


def place_pool(
    size: tuple[int, ...], window: Axes, strides: Axes | None, padding: Padding
) -> Geometry:
    """Resolve a pool's window; refuse one that padding alone can fill."""
    resolved = place(size, window, strides, padding)
    for span, pair in zip(resolved.span, resolved.padding, strict=True):
        if known(*pair) and max(pair) >= span:
            raise ValueError(
                f"padding must be smaller than the window {resolved.window}, "
                f"found {resolved.padding}"
            )
    return resolved


def place_transposed(
    inner: tuple[int, ...],
    window: Axes,
    strides: Axes,
    padding: Padding,
    dilation: Axes = 1,
    groups: int = 1,
) -> Geometry:
    """Resolve the correlation with the output ``inner``, whose adjoint transposes a convolution."""
    rank = len(inner)
    window, strides, dilation = (
        per_axis(name, value, rank)
        for name, value in (("window", window), ("strides", strides), ("dilation", dilation))
    )
    size = transposed_size(inner, window, strides, padding, dilation)
    return place(size, window, strides, padding, dilation, groups)


def transposed_size(
    inner: tuple[int, ...],
    window: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
) -> tuple[int, ...]:
    """Return the size whose correlation has the size ``inner``."""
    if padding == "SAME":
        return tuple(s * n for s, n in zip(strides, inner, strict=True))
    span = tuple(d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True))
    cut = pads(padding, inner, span, strides)
    size = tuple(
        s * (n - 1) + k - lo - hi
        for n, s, k, (lo, hi) in zip(inner, strides, span, cut, strict=True)
    )
    if any(known(n) and n < 1 for n in size):
        raise ValueError(f"padding {cut} leaves nothing of the output, found size {size}")
    return size


def times(size: Sequence[int]) -> str:
    """Write a size with its lengths joined by "x"."""
    return "x".join(str(n) for n in size)
