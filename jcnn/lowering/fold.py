"""Space folded into channels: any stride becomes stride 1, few channels become many.

Along each axis let a block of b = t s input elements stand for t outputs at stride s. Then

    y[t m + q] = sum_k w[k] x[s (t m + q) + k]
               = sum_j w'[j; r, q] x'[m + j; r],    w'[j; r, q] = w[b j + r - s q]

is a correlation at stride 1 whose input channels are (r, c) and whose outputs are (q, d). Folding
the last axis alone moves nothing in memory. The zeros in w' cost arithmetic where b does not divide
the window. Strides alone, t = 1, may end in a window of an odd number of blocks, as minimal
filtering has them: 11x11 at stride 4 over 3 channels is 3x3 over 48.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import prod

import jax
import jax.numpy as jnp
from jax import lax

from jcnn.geometry import Geometry
from jcnn.lowering.windows import resized

Correlation = Callable[[Geometry, jax.Array, jax.Array], jax.Array]


def correlate(
    g: Geometry, x: jax.Array, w: jax.Array, base: Correlation, odd: bool = False
) -> jax.Array:
    """The correlation, through ``base`` on folded arrays."""
    f = Fold.of(g, x.shape[-1], w.shape[-1], odd)
    return f.unfold_output(base(f.folded, f.fold_input(x), f.fold_kernel(w)))


def input_gradient(
    g: Geometry, dy: jax.Array, w: jax.Array, base: Correlation, odd: bool = False
) -> jax.Array:
    """Its adjoint in x: every fold's adjoint is the unfolding."""
    f = Fold.of(g, w.shape[-2] * g.groups, w.shape[-1], odd)
    return f.unfold_input(base(f.folded, f.fold_output(dy), f.fold_kernel(w)))


def kernel_gradient(
    g: Geometry, x: jax.Array, dy: jax.Array, base: Correlation, odd: bool = False
) -> jax.Array:
    """Its adjoint in w: the t copies of the kernel in w' are summed."""
    f = Fold.of(g, x.shape[-1], dy.shape[-1], odd)
    return f.unfold_kernel(base(f.folded, f.fold_input(x), f.fold_output(dy)), x.shape[-1])


def outputs_a_block(g: Geometry, channels: int, features: int) -> tuple[int, ...]:
    """t: several along the last axis, where channels are too few to fill a matrix product."""
    # 5x5, 1 to 32 channels: t = 4 took 1.2 ms for the kernel gradient, 1 took 2.0, 8 took 1.8.
    # t divides the row, since cropping costs a copy: 7x7, 22 outputs, 1.3 ms for 2, 1.8 for 4. It
    # stays below the window: 3x3, 28 outputs, 0.36 ms for 2, 0.49 for 4.
    if channels * g.strides[-1] > 8:
        return (1,) * g.rank
    most = max(1, min(4, 128 // max(features, 1), g.window[-1] - 1))
    return (*(1,) * (g.rank - 1), max(t for t in range(1, most + 1) if g.output[-1] % t == 0))


@dataclass(frozen=True)
class Fold:
    """The arrays of one correlation, folded."""

    plain: Geometry
    outputs: tuple[int, ...]
    odd: bool = False

    @classmethod
    def of(cls, g: Geometry, channels: int, features: int, odd: bool = False) -> Fold:
        """The fold of a correlation between ``channels`` and ``features``.

        With ``odd`` that of the strides alone, whose window is an odd number of blocks.
        """
        assert max(g.dilation) == g.groups == 1, g
        if odd:
            return cls(g, (1,) * g.rank, odd)
        return cls(g, outputs_a_block(g, channels, features))

    @property
    def single(self) -> bool:
        """Whether no outputs are folded together."""
        return set(self.outputs) == {1}

    @property
    def block(self) -> tuple[int, ...]:
        """b: input elements of a block along each axis."""
        return tuple(t * s for t, s in zip(self.outputs, self.plain.strides, strict=True))

    @property
    def folded(self) -> Geometry:
        """The correlation at stride 1 between folded arrays."""
        g = self.plain
        reach = (
            -(-((t - 1) * s + k) // (t * s))
            for t, s, k in zip(self.outputs, g.strides, g.window, strict=True)
        )
        window = tuple(k | 1 if self.odd else k for k in reach)
        size = tuple(
            -(-m // t) + k - 1 for m, t, k in zip(g.output, self.outputs, window, strict=True)
        )
        one = (1,) * g.rank
        return Geometry(size, window, one, ((0, 0),) * g.rank, one)

    def fold_input(self, x: jax.Array) -> jax.Array:
        """From x to x'."""
        return _fold(resized(x, self._margins), self.block)

    def unfold_input(self, x: jax.Array) -> jax.Array:
        """Adjoint of fold_input."""
        return resized(_unfold(x, self.block), [(-lo, -hi) for lo, hi in self._margins])

    def fold_output(self, y: jax.Array) -> jax.Array:
        """From y to y'."""
        return _fold(resized(y, self._excess), self.outputs)

    def unfold_output(self, y: jax.Array) -> jax.Array:
        """Adjoint of fold_output."""
        return resized(_unfold(y, self.outputs), [(0, -hi) for _, hi in self._excess])

    def fold_kernel(self, w: jax.Array) -> jax.Array:
        """w', (*window', b C, t D): one shifted copy of w for each output of a block."""
        c, d = w.shape[-2:]
        shifted = jnp.stack([resized(w, edges, first=0) for edges in self._shifts()], -2)
        w = _fold(shifted.reshape(1, *shifted.shape[: self.plain.rank], -1), self.block)[0]
        return w.reshape(*self.folded.window, prod(self.block) * c, prod(self.outputs) * d)

    def unfold_kernel(self, dw: jax.Array, channels: int) -> jax.Array:
        """Adjoint of fold_kernel."""
        copies = prod(self.outputs)
        features = dw.shape[-1] // copies
        dw = _unfold(lax.collapse(dw, self.plain.rank)[None], self.block)[0]
        dw = dw.reshape(*dw.shape[:-1], channels, copies, features)
        parts = [
            resized(dw[..., q, :], [(-lo, -hi) for lo, hi in edges], first=0)
            for q, edges in enumerate(self._shifts())
        ]
        return sum(parts[1:], start=parts[0])

    def _shifts(self) -> list[list[tuple[int, int]]]:
        """Zeros before and after w for each output of a block."""
        g, window = self.plain, self.folded.window
        return [
            [
                (s * q, j * b - k - s * q)
                for s, q, j, b, k in zip(
                    g.strides, shift, window, self.block, g.window, strict=True
                )
            ]
            for shift in product(*map(range, self.outputs))
        ]

    @property
    def _margins(self) -> list[tuple[int, int]]:
        """Padding of x up to whole blocks."""
        return [
            (lo, n * b - size - lo)
            for (lo, _), n, b, size in zip(
                self.plain.padding, self.folded.size, self.block, self.plain.size, strict=True
            )
        ]

    @property
    def _excess(self) -> list[tuple[int, int]]:
        """Padding of y up to whole blocks."""
        return [(0, -m % t) for m, t in zip(self.plain.output, self.outputs, strict=True)]


def _fold(a: jax.Array, block: tuple[int, ...]) -> jax.Array:
    """(N, n1 b1, n2 b2, C) to (N, n1, n2, b1 b2 C)."""
    rank = len(block)
    sizes = [n // b for n, b in zip(a.shape[1:], block, strict=False)]
    pairs = [n for pair in zip(sizes, block, strict=True) for n in pair]
    a = a.reshape(a.shape[0], *pairs, a.shape[-1])
    order = (0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2), 2 * rank + 1)
    return lax.transpose(a, order).reshape(a.shape[0], *sizes, prod(block) * a.shape[-1])


def _unfold(a: jax.Array, block: tuple[int, ...]) -> jax.Array:
    """(N, n1, n2, b1 b2 C) to (N, n1 b1, n2 b2, C)."""
    rank = len(block)
    sizes, channels = a.shape[1:-1], a.shape[-1] // prod(block)
    a = a.reshape(a.shape[0], *sizes, *block, channels)
    order = (0, *(axis for i in range(1, rank + 1) for axis in (i, rank + i)), 2 * rank + 1)
    whole = [n * b for n, b in zip(sizes, block, strict=True)]
    return lax.transpose(a, order).reshape(a.shape[0], *whole, channels)
