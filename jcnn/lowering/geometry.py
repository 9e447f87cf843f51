"""Where a window stands: the integers that fix a correlation or a pool, resolved and hashable."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod


@dataclass(frozen=True)
class Geometry:
    """The static shape of a sliding window, one entry a spatial axis.

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
            (n - span) % stride
            for n, span, stride in zip(self.padded, self.span, self.strides, strict=True)
        )

    @property
    def excess(self) -> tuple[tuple[int, int], ...]:
        """Padding beyond a window's reach (its span less one), before and after each axis.

        Windows that lie in it wholly see no input; XLA's gradients of such a convolution would
        have negative padding.
        """
        return tuple(
            (max(0, lo - span + 1), max(0, hi - span + 1))
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
