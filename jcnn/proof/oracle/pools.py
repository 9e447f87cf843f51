"""Pools, decimation, ReLU and dropout's mask on whole numbers."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import lcm, prod
from typing import Any

import jax
import numpy as np

from jcnn.proof.oracle.formula import Formula, linear, selecting
from jcnn.proof.oracle.window import Window

Shape = tuple[int, ...]
LEAST = int(np.iinfo(np.int64).min)


def average_pool(x: Shape, options: dict[str, Any]) -> Formula:
    """The mean of each window, of those of its elements that count."""
    given = dict(options)
    include = given.pop("count_include_pad", True)
    at, padded = _pool(x, given), _pool(x, {**given, "ceil_mode": False})
    held = padded.pad(np.ones((1, *x[1:-1], 1), np.int64), value=int(include))
    beyond = [(0, at.padding[i][1] - padded.padding[i][1]) for i in range(len(at.size))]
    held = np.pad(held, ((0, 0), *beyond, (0, 0)))
    counts = np.asarray(sum(view for _, view in at.taps_of(held)))

    def spread(dy: np.ndarray) -> np.ndarray:
        dx = at.zeros(x[0], x[-1])
        for _, view in at.taps_of(dx):
            view += dy // counts
        return at.crop(dx)

    def average(x: np.ndarray) -> np.ndarray:
        return np.asarray(sum(view for _, view in at.taps_of(at.pad(x)))) // counts

    # Divided are multiples of every count; padding is zero, and may be left out of the sum.
    every = lcm(*np.unique(counts).tolist())
    return linear(average, spread, at.taps, every, _roundings(every, at.overlap))


def pad(x: Shape, options: dict[str, Any]) -> Formula:
    """Padding, or cropping: a window of one element that goes over all."""
    mode, edges = options.get("mode", "ZEROS").upper(), options["padding"]
    at = replace(Window.of(x[1:-1], 1, 1, edges), fill=mode)
    return linear(at.pad, at.crop, at.copies)


def global_average_pool(x: Shape, options: dict[str, Any]) -> Formula:
    """The mean over all spatial axes."""
    count, axes = prod(x[1:-1]), tuple(range(1, len(x) - 1))
    return linear(
        lambda x: x.sum(axes) // count,
        lambda dy: np.broadcast_to(np.expand_dims(dy // count, axes), x),
        count,
        count,
        _roundings(count, 1),
    )


def _roundings(divisor: int, terms: int) -> int:
    """The reciprocal, the product with it, and each sum of such products; none for powers of 2."""
    return 0 if divisor & (divisor - 1) == 0 else 2 + terms


def decimate(x: Shape, options: dict[str, Any]) -> Formula:
    """Every ``factor``-th element."""
    at = Window.of(x[1:-1], 1, options["factor"])

    def spread(dy: np.ndarray) -> np.ndarray:
        dx = at.zeros(x[0], x[-1])
        for _, view in at.taps_of(dx):
            view += dy
        return dx

    return linear(lambda x: next(view for _, view in at.taps_of(x)), spread, 1)


def _pool(x: Any, options: dict[str, Any]) -> Window:
    given = dict(options)
    window, strides = given.pop("window"), given.pop("strides", None)
    ceil_mode = given.pop("ceil_mode", False)
    at = Window.of(x[1:-1], window, window if strides is None else strides, **given)
    if not ceil_mode:
        return at
    edges = []
    for n, k, s, (lo, hi) in zip(at.size, at.window, at.strides, at.padding, strict=True):
        # begins before the input ends, and a stride before what would not be left over
        last = min(n - 1, n + hi - k + s - 1) + lo
        edges.append((lo, max(hi, last // s * s + k - lo - n)))
    return replace(at, padding=tuple(edges))


def global_max_pool(x: Shape, options: dict[str, Any]) -> Formula:
    """The first of the largest elements over all spatial axes."""
    pooled = max_pool(x, {"window": x[1:-1]})
    flat, full = (x[0], x[-1]), (x[0], *(1 for _ in x[1:-1]), x[-1])
    return replace(
        pooled,
        value=lambda x: pooled.value(x).reshape(flat),
        pullback=lambda dy, x: pooled.pullback(dy.reshape(full), x),
        tangent=lambda v, x: pooled.tangent(v, x).reshape(flat),
    )


def max_pool(x: Shape, options: dict[str, Any], *, floor: int = LEAST) -> Formula:
    """The first of the largest elements of each window; nothing where none is above ``floor``."""
    at = _pool(x, options)

    def first(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The largest above the floor, and the first tap that reaches it; no tap (-1) if none."""
        best, winner = floor, -1
        views = at.taps_of(at.pad(x, LEAST))
        for tap, (_, view) in enumerate(views):
            winner = np.where(view > best, tap, winner)
            best = np.maximum(view, best)
        return np.asarray(best), np.asarray(winner)

    def pick(v: np.ndarray, winner: np.ndarray) -> np.ndarray:
        views = enumerate(at.taps_of(at.pad(v)))
        return np.asarray(sum(np.where(winner == tap, view, 0) for tap, (_, view) in views))

    def place(dy: np.ndarray, winner: np.ndarray) -> np.ndarray:
        dx = at.zeros(x[0], x[-1])
        for tap, (_, view) in enumerate(at.taps_of(dx)):
            view += np.where(winner == tap, dy, 0)
        return at.crop(dx)

    return selecting(first, pick, place, at.overlap)


def relu(x: Shape, options: dict[str, Any]) -> Formula:
    """max(x, 0), whose slope at 0 is 0."""

    def gated(v: np.ndarray, passes: np.ndarray) -> np.ndarray:
        return np.where(passes, v, 0)

    return selecting(lambda x: (np.maximum(x, 0), x > 0), gated, gated, 1)


def square_pool(x: Shape, options: dict[str, Any]) -> Formula:
    """The sum of the squares in each window."""
    at = _pool(x, options)

    def windows(a: np.ndarray) -> np.ndarray:
        return np.asarray(sum(view for _, view in at.taps_of(at.pad(a))))

    def spread(dy: np.ndarray) -> np.ndarray:
        dx = at.zeros(x[0], x[-1])
        for _, view in at.taps_of(dx):
            view += dy
        return at.crop(dx)

    return Formula(
        "bilinear",
        lambda x: windows(x * x),
        lambda dy, x: (2 * x * spread(dy),),
        lambda v, x: 2 * windows(x * v[0]),
        lambda dy, v, x: (2 * v[0] * spread(dy),),
        2 * max(at.taps, at.overlap),
    )


def dropout(x: Shape, options: dict[str, Any]) -> Formula:
    """M x / (1 - r), with the mask m that each example's own key draws."""
    rate = options["drop_rate"]
    keys = [jax.random.fold_in(options["key"], number) for number in range(x[0])]
    kept = np.array([jax.random.bernoulli(key, 1 - rate, x[1:]) for key in keys], np.int64)
    scale = Fraction(1 / (1 - rate)).limit_denominator(1000)

    def masked(a: np.ndarray) -> np.ndarray:
        return kept * (scale.numerator * a // scale.denominator)

    # Rounded are 1 - r, its reciprocal and the product.
    exact = (1 - rate) * 2**10 % 1 == 0 and scale.denominator == 1
    return linear(masked, masked, scale.numerator, scale.denominator, 0 if exact else 4)
