"""Where windows stand, written out for the oracle alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Window:
    """Where the windows of a correlation or pool stand; one entry per spatial axis."""

    size: tuple[int, ...]
    window: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]

    @classmethod
    def of(
        cls, size: Any, window: Any, strides: Any = 1, padding: Any = "VALID", dilation: Any = 1
    ) -> Window:
        """Write out what may be one number for all axes, or the name of a padding."""
        rank = len(size)
        window, strides, dilation = (
            (int(a),) * rank if np.ndim(a) == 0 else tuple(map(int, a))
            for a in (window, strides, dilation)
        )
        span = [d * (k - 1) + 1 for d, k in zip(dilation, window, strict=True)]
        pads = []
        for axis, (n, k, s) in enumerate(zip(size, span, strides, strict=True)):
            if padding == "SAME":
                total = max(0, s * (-(-n // s) - 1) + k - n)
                pads.append((total // 2, total - total // 2))
            elif isinstance(padding, str):
                pads.append({"VALID": (0, 0), "FULL": (k - 1, k - 1)}[padding])
            else:
                pair = padding if np.ndim(padding) == 0 else padding[axis]
                pads.append((pair, pair) if np.ndim(pair) == 0 else tuple(pair))
        return cls(tuple(size), window, strides, dilation, tuple(pads))

    @property
    def output(self) -> tuple[int, ...]:
        """How many windows there are."""
        return tuple(
            (n + lo + hi - d * (k - 1) - 1) // s + 1
            for n, k, s, d, (lo, hi) in zip(
                self.size, self.window, self.strides, self.dilation, self.padding, strict=True
            )
        )

    @property
    def taps(self) -> int:
        """Elements of a window."""
        return prod(self.window)

    @property
    def overlap(self) -> int:
        """The most windows that one element may lie in."""
        return prod(-(-k // s) for k, s in zip(self.window, self.strides, strict=True))

    def taps_of(self, padded: np.ndarray) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
        """Each tap k, and the view a[s m + d k] of a padded array for all windows m."""
        for k in product(*map(range, self.window)):
            steps = (
                slice(d * i, d * i + s * (m - 1) + 1, s)
                for d, i, s, m in zip(self.dilation, k, self.strides, self.output, strict=True)
            )
            yield k, padded[(slice(None), *steps)]

    def pad(self, x: np.ndarray, value: int = 0) -> np.ndarray:
        """The input with its padding."""
        return np.pad(x, ((0, 0), *self.padding, (0, 0)), constant_values=value)

    def crop(self, padded: np.ndarray) -> np.ndarray:
        """The input without its padding: what ``pad`` is the adjoint of."""
        inner = (slice(lo, lo + n) for (lo, _), n in zip(self.padding, self.size, strict=True))
        return padded[(slice(None), *inner)]

    def zeros(self, batch: int, channels: int) -> np.ndarray:
        """A padded input of zeros."""
        size = (n + lo + hi for n, (lo, hi) in zip(self.size, self.padding, strict=True))
        return np.zeros((batch, *size, channels), np.int64)
