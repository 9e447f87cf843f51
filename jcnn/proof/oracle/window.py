"""Where windows stand, written out for the oracle alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np

# What elements of the input are copied beyond its edges, in NumPy's words.
_COPIED: dict[str, Any] = {"CIRCULAR": "wrap", "REFLECT": "reflect", "REPLICATE": "edge"}


@dataclass(frozen=True)
class Window:
    """Where the windows of a correlation or pool stand; one entry per spatial axis.

    Negative padding crops. ``fill`` names what the input is padded with, if not zeros.
    """

    size: tuple[int, ...]
    window: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    fill: str = "ZEROS"

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
        name = padding.upper() if isinstance(padding, str) else ""
        pads = []
        for axis, (n, k, s) in enumerate(zip(size, span, strides, strict=True)):
            if name:
                pads.append(_named(name, n, k, s))
            else:
                pair = padding if np.ndim(padding) == 0 else padding[axis]
                pads.append((pair, pair) if np.ndim(pair) == 0 else tuple(pair))
        fill = name if name in _COPIED else "ZEROS"
        return cls(tuple(size), window, strides, dilation, tuple(pads), fill)

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
        return self.copies * prod(
            -(-k // s) for k, s in zip(self.window, self.strides, strict=True)
        )

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
        if self.fill != "ZEROS":
            return x[self._where(x.shape[0], x.shape[-1])]
        inner = (slice(max(-lo, 0), n - max(-hi, 0)) for n, (lo, hi) in self._axes())
        edges = ((max(lo, 0), max(hi, 0)) for _, (lo, hi) in self._axes())
        cropped = x[(slice(None), *inner)]
        return np.pad(cropped, ((0, 0), *edges, (0, 0)), constant_values=value)

    def crop(self, padded: np.ndarray) -> np.ndarray:
        """What ``pad`` is the adjoint of: the input without its padding, copies added up."""
        if self.fill != "ZEROS":
            dx = np.zeros((padded.shape[0], *self.size, padded.shape[-1]), padded.dtype)
            np.add.at(dx, self._where(dx.shape[0], dx.shape[-1]), padded)
            return dx
        inner = (slice(max(lo, 0), max(lo, 0) + n - max(-lo, 0) - max(-hi, 0))
                 for n, (lo, hi) in self._axes())  # fmt: skip
        edges = ((max(-lo, 0), max(-hi, 0)) for _, (lo, hi) in self._axes())
        return np.pad(padded[(slice(None), *inner)], ((0, 0), *edges, (0, 0)))

    def zeros(self, batch: int, channels: int) -> np.ndarray:
        """A padded input of zeros."""
        size = (n + lo + hi for n, (lo, hi) in self._axes())
        return np.zeros((batch, *size, channels), np.int64)

    @property
    def copies(self) -> int:
        """How often an element stands in the padded input, at most."""
        if self.fill == "ZEROS":
            return 1
        return prod(int(np.bincount(places).max()) for places in self._copied())

    def _where(self, batch: int, channels: int) -> tuple[Any, ...]:
        """The padded input as an index of the input."""
        axes: list[Any] = [np.arange(batch), *self._copied(), np.arange(channels)]
        return np.ix_(*axes)

    def _axes(self) -> Iterator[tuple[int, tuple[int, int]]]:
        return zip(self.size, self.padding, strict=True)

    def _copied(self) -> list[np.ndarray]:
        """Which element of the input stands at each place of an axis."""
        return [np.pad(np.arange(n), edges, _COPIED[self.fill]) for n, edges in self._axes()]


def _named(name: str, n: int, k: int, s: int) -> tuple[int, int]:
    """Elements before and after an axis of n, for windows that span k, with stride s."""
    if name in _COPIED:
        return (k - 1) // 2, k // 2
    if name.startswith("SAME"):
        total = max(0, s * (-(-n // s) - 1) + k - n)
        less, more = total // 2, total - total // 2
        return (more, less) if name == "SAME_LOWER" else (less, more)
    return {"VALID": (0, 0), "FULL": (k - 1, k - 1)}[name]
