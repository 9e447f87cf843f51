"""Correlations, dense layers and pools as Python loops, written from the lectures' formulas.

Each function has the signature of the operation of the same name with the cotangent ``dy`` in
front, and returns the value and the gradients. Nothing here knows JAX or the package.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np

Triples = list[tuple[int, int, int]]


# --- correlation, convolution, transposed convolution -------------------------------------------


def correlate(dy, x, w, b=None, **options):
    """y[m] = sum_k w[k] x[s m + r k - p]."""

    def axis(size, window, s, r, lo, hi, fill) -> tuple[int, Triples]:
        output = (size + lo + hi - (r * (window - 1) + 1)) // s + 1
        places = product(range(output), range(window))
        return output, [(m, k, source(s * m + r * k - lo, size, fill)) for m, k in places]

    return _bilinear(dy, x, w, b, axis, **options)


def convolve(dy, x, w, b=None, **options):
    """z[m] = sum_n w[m - n] a[n], from the first m at which the kernel lies inside the image."""

    def axis(size, window, s, r, lo, hi, fill) -> tuple[int, Triples]:
        reach = r * (window - 1)
        output = (size + lo + hi - (reach + 1)) // s + 1
        places = product(range(output), range(-lo, size + hi))
        lags = ((i, s * i + reach - lo - n, source(n, size, fill)) for i, n in places)
        return output, [(i, lag // r, n) for i, lag, n in lags if lag in range(0, reach + 1, r)]

    return _bilinear(dy, x, w, b, axis, **options)


def convolve_transpose(dy, x, w, b=None, *, output_padding=0, **options):
    """Element m of the input adds x[m] w[k] to y[s m + r k - p]; only y's own size is kept."""
    more = iter(per_axis(output_padding, x.ndim - 2))

    def axis(size, window, s, r, lo, hi, fill) -> tuple[int, Triples]:
        output = s * (size - 1) + r * (window - 1) + 1 - lo - hi + next(more)
        places = product(range(size), range(window))
        return output, [(source(s * m + r * k - lo, output, fill), k, m) for m, k in places]

    return _bilinear(dy, x, w, b, axis, transposed=True, **options)


def source(place: int, size: int, fill: str) -> int | None:
    """Which element stands at a place within or beyond an axis; None where there is zero."""
    match fill:
        case "CIRCULAR":
            return place % size
        case "REPLICATE":
            return min(max(place, 0), size - 1)
        case "REFLECT":
            there_and_back = max(2 * (size - 1), 1)
            return min(place % there_and_back, -place % there_and_back)
    return place if 0 <= place < size else None


def _bilinear(
    dy, x, w, b, axis, *, strides=1, padding="VALID", dilation=1, groups=1, transposed=False
):
    """Go through all (output m, tap k, input n) that meet: y[m] += x[n] w[k], and its gradients."""
    size, window = x.shape[1:-1], w.shape[:-2]
    s, r = per_axis(strides, len(size)), per_axis(dilation, len(size))
    span = [b * (a - 1) + 1 for a, b in zip(window, r, strict=True)]
    # a transposed convolution cuts off what the correlation onto its input would pad
    padded = [a * b for a, b in zip(size, s, strict=True)] if transposed else size
    lo, hi = zip(*edges(padding, padded, span, s), strict=True)
    name = padding.upper() if isinstance(padding, str) else ""
    if transposed and name not in ("", "VALID", "FULL"):
        hi = [c * (n - 1) + k - a - c * n for c, n, k, a in zip(s, size, span, lo, strict=True)]
    fill = [name] * len(size)
    outputs, triples = zip(*map(axis, size, window, s, r, lo, hi, fill), strict=True)
    y = np.zeros((x.shape[0], *outputs, w.shape[-1]))
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    c, d = x.shape[-1] // groups, w.shape[-1] // groups
    for meeting in product(*triples):
        m, k, n = zip(*meeting, strict=True)
        if None in m or None in n:
            continue  # the padding is zero, and what is cut off is not seen
        for g in range(groups):
            here = (slice(None), *n, slice(g * c, g * c + c))
            there = (slice(None), *m, slice(g * d, g * d + d))
            tap = (*k, slice(None), slice(g * d, g * d + d))
            y[there] += x[here] @ w[tap]
            dx[here] += dy[there] @ w[tap].T
            dw[tap] += x[here].T @ dy[there]
    return _with_bias(y, (dx, dw), b, dy)


def per_axis(value: Any, rank: int) -> tuple[int, ...]:
    return (value,) * rank if isinstance(value, int) else tuple(value)


def edges(padding, size, span, strides) -> list[tuple[int, int]]:
    """Elements added (before, after) each axis."""
    if not isinstance(padding, str):
        return [per_axis(p, 2) for p in per_axis(padding, len(size))]
    match padding.upper():
        case "VALID":
            return [(0, 0)] * len(size)
        case "FULL":
            return [(k - 1, k - 1) for k in span]
        case "CIRCULAR" | "REFLECT" | "REPLICATE":
            return [((k - 1) // 2, k // 2) for k in span]
    outputs = [math.ceil(n / s) for n, s in zip(size, strides, strict=True)]
    whole = zip(outputs, strides, span, size, strict=True)
    totals = [max(s * (m - 1) + k - n, 0) for m, s, k, n in whole]
    pairs = [(total // 2, total - total // 2) for total in totals]
    return pairs if padding.upper() == "SAME" else [(hi, lo) for lo, hi in pairs]


def _with_bias(y, gradients, b, dy):
    if b is None:
        return y, gradients
    db = np.zeros_like(b)
    for index in np.ndindex(dy.shape):
        db[index[dy.ndim - b.ndim :]] += dy[index]
    return y + b, (*gradients, db)


def dense(dy, z, w, b=None):
    """a_j = sum_i z_i W_ij + b_j."""
    a, dz, dw = np.zeros(dy.shape), np.zeros_like(z), np.zeros_like(w)
    for row in np.ndindex(z.shape[:-1]):
        for i, j in np.ndindex(w.shape):
            a[(*row, j)] += z[(*row, i)] * w[i, j]
            dz[(*row, i)] += dy[(*row, j)] * w[i, j]
            dw[i, j] += z[(*row, i)] * dy[(*row, j)]
    return _with_bias(a, (dz, dw), b, dy)


# --- pools --------------------------------------------------------------------------------------


def _windows(x, window, strides, padding, ceil_mode=False):
    """Every output position with the input positions of its window, in row-major order.

    And how many elements of the padded input each window holds.
    """
    size = x.shape[1:-1]
    window = per_axis(window, len(size))
    s = window if strides is None else per_axis(strides, len(size))
    pads = edges(padding, size, window, s)
    fill = padding.upper() if isinstance(padding, str) else ""
    whole = list(zip(size, window, s, pads, strict=True))
    if ceil_mode:  # each window that begins before the input ends, the padding before it included
        starts = [
            [a for a in range(0, n + lo, step) if a < n + lo + hi - k + step]
            for n, k, step, (lo, hi) in whole
        ]
    else:
        starts = [range(0, n + lo + hi - k + 1, step) for n, k, step, (lo, hi) in whole]
    for m in np.ndindex(*map(len, starts)):
        taps, held = [], 1
        for axis, (n, k, _, (lo, hi)) in enumerate(whole):
            first = starts[axis][m[axis]]
            held *= min(first + k, n + lo + hi) - first
            taps.append([source(a - lo, n, fill) for a in range(first, first + k)])
        yield m, [n for n in product(*taps) if None not in n], held


def max_pool(dy, x, window, *, strides=None, padding="VALID", ceil_mode=False, floor=-math.inf):
    """The gradient goes to the first element that reaches the window's maximum."""
    y, dx = np.zeros(dy.shape), np.zeros_like(x)
    for m, places, _ in _windows(x, window, strides, padding, ceil_mode):
        for i, c in np.ndindex(x.shape[0], x.shape[-1]):
            best, winner = floor, None
            for n in places:
                if x[(i, *n, c)] > best:
                    best, winner = x[(i, *n, c)], n
            y[(i, *m, c)] = best
            if winner is not None:
                dx[(i, *winner, c)] += dy[(i, *m, c)]
    return y, (dx,)


def relu_max_pool(dy, x, window, **options):
    return max_pool(dy, x, window, floor=0.0, **options)


def average_pool(
    dy, x, window, *, strides=None, padding="VALID", ceil_mode=False, count_include_pad=True
):
    y, dx = np.zeros(dy.shape), np.zeros_like(x)
    for m, places, held in _windows(x, window, strides, padding, ceil_mode):
        count = held if count_include_pad else len(places)
        for n in places:
            y[(slice(None), *m)] += x[(slice(None), *n)] / count
            dx[(slice(None), *n)] += dy[(slice(None), *m)] / count
    return y, (dx,)


def square_pool(dy, x, window, *, strides=None, padding="VALID", ceil_mode=False):
    y, dx = np.zeros(dy.shape), np.zeros_like(x)
    for m, places, _ in _windows(x, window, strides, padding, ceil_mode):
        for n in places:
            y[(slice(None), *m)] += x[(slice(None), *n)] ** 2
            dx[(slice(None), *n)] += 2 * x[(slice(None), *n)] * dy[(slice(None), *m)]
    return y, (dx,)


def pad(dy, x, padding, *, mode="ZEROS"):
    """Element m of the output is the element that stands at m - p, within the input or beyond."""
    y, dx = np.zeros(dy.shape), np.zeros_like(x)
    size = x.shape[1:-1]
    before = [lo for lo, _ in edges(padding, size, size, size)]
    for m in np.ndindex(*dy.shape[1:-1]):
        whole = zip(m, before, size, strict=True)
        n = [source(i - lo, length, mode.upper()) for i, lo, length in whole]
        if None not in n:
            y[(slice(None), *m)] = x[(slice(None), *n)]
            dx[(slice(None), *n)] += dy[(slice(None), *m)]
    return y, (dx,)


def decimate(dy, x, factor):
    """a[m] = z[M m]."""
    factor = per_axis(factor, x.ndim - 2)
    y, dx = np.zeros(dy.shape), np.zeros_like(x)
    for m in np.ndindex(dy.shape[1:-1]):
        n = tuple(f * i for f, i in zip(factor, m, strict=True))
        y[(slice(None), *m)] = x[(slice(None), *n)]
        dx[(slice(None), *n)] = dy[(slice(None), *m)]
    return y, (dx,)


def global_max_pool(dy, x):
    whole = x.shape[1:-1]
    y, gradients = max_pool(dy.reshape(x.shape[0], *(1 for _ in whole), x.shape[-1]), x, whole)
    return y.reshape(dy.shape), gradients


def global_average_pool(dy, x):
    y, dx = np.zeros(dy.shape), np.zeros_like(x)
    for n in np.ndindex(x.shape[1:-1]):
        y += x[(slice(None), *n)] / math.prod(x.shape[1:-1])
        dx[(slice(None), *n)] = dy / math.prod(x.shape[1:-1])
    return y, (dx,)
