"""Where a window stands: the integers that fix a correlation or a pool, resolved and hashable."""

from __future__ import annotations

from dataclasses import dataclass
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
    def taps(self) -> int:
        """Number of elements in one window."""
        return prod(self.window)
