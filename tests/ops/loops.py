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

    def axis(size, window, s, r, lo, hi) -> tuple[int, Triples]:
        output = (size + lo + hi - (r * (window - 1) + 1)) // s + 1
        places = product(range(output), range(window))
        return output, [(m, k, s * m + r * k - lo) for m, k in places]

    return _bilinear(dy, x, w, b, axis, **options)


def convolve(dy, x, w, b=None, **options):
    """z[m] = sum_n w[m - n] a[n], from the first m at which the kernel lies inside the image."""

    def axis(size, window, s, r, lo, hi) -> tuple[int, Triples]:
        reach = r * (window - 1)
        output = (size + lo + hi - (reach + 1)) // s + 1
        places = product(range(output), range(size))
        lags = ((i, s * i + reach - lo - n, n) for i, n in places)
        return output, [(i, lag // r, n) for i, lag, n in lags if lag in range(0, reach + 1, r)]

    return _bilinear(dy, x, w, b, axis, **options)


def convolve_transpose(dy, x, w, b=None, **options):
    """Element m of the input adds x[m] w[k] to y[s m + r k - p]; only y's own size is kept."""

    def axis(size, window, s, r, lo, hi) -> tuple[int, Triples]:
        output = s * (size - 1) + r * (window - 1) + 1 - lo - hi
        places = product(range(size), range(window))
        triples = [(s * m + r * k - lo, k, m) for m, k in places]
        return output, [t for t in triples if 0 <= t[0] < output]

    return _bilinear(dy, x, w, b, axis, transposed=True, **options)


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
    if transposed and padding == "SAME":
        hi = [c * (n - 1) + k - a - c * n for c, n, k, a in zip(s, size, span, lo, strict=True)]
    outputs, triples = zip(*map(axis, size, window, s, r, lo, hi), strict=True)
    y = np.zeros((x.shape[0], *outputs, w.shape[-1]))
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    c, d = x.shape[-1] // groups, w.shape[-1] // groups
    for meeting in product(*triples):
        m, k, n = zip(*meeting, strict=True)
        if any(i not in range(a) for i, a in zip(n, size, strict=True)):
            continue  # the padding is zero
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
    if padding == "VALID":
        return [(0, 0)] * len(size)
    if padding == "FULL":
        return [(k - 1, k - 1) for k in span]
    if padding == "SAME":
        outputs = [math.ceil(n / s) for n, s in zip(size, strides, strict=True)]
        whole = zip(outputs, strides, span, size, strict=True)
        totals = [max(s * (m - 1) + k - n, 0) for m, s, k, n in whole]
        return [(total // 2, total - total // 2) for total in totals]
    return [per_axis(p, 2) for p in per_axis(padding, len(size))]


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


def _windows(x, window, strides, padding):
    """Every output position with the input positions of its window, in row-major order."""
    size = x.shape[1:-1]
    window = per_axis(window, len(size))
    s = window if strides is None else per_axis(strides, len(size))
    pads = edges(padding, size, window, s)
    whole = zip(size, window, s, pads, strict=True)
    output = [(n + lo + hi - k) // step + 1 for n, k, step, (lo, hi) in whole]
    for m in np.ndindex(*output):
        starts = [step * i - lo for step, i, (lo, _) in zip(s, m, pads, strict=True)]
        taps = [range(a, a + k) for a, k in zip(starts, window, strict=True)]
        yield m, [n for n in product(*taps) if all(map(lambda i, a: 0 <= i < a, n, size))]


def max_pool(dy, x, window, *, strides=None, padding="VALID", floor=-math.inf):
    """The gradient goes to the first element that reaches the window's maximum."""
    y, dx = np.zeros(dy.shape), np.zeros_like(x)
    for m, places in _windows(x, window, strides, padding):
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


def average_pool(dy, x, window, *, strides=None, padding="VALID"):
    taps = math.prod(per_axis(window, x.ndim - 2))
    y, dx = np.zeros(dy.shape), np.zeros_like(x)
    for m, places in _windows(x, window, strides, padding):
        for n in places:
            y[(slice(None), *m)] += x[(slice(None), *n)] / taps
            dx[(slice(None), *n)] += dy[(slice(None), *m)] / taps
    return y, (dx,)


def square_pool(dy, x, window, *, strides=None, padding="VALID"):
    y, dx = np.zeros(dy.shape), np.zeros_like(x)
    for m, places in _windows(x, window, strides, padding):
        for n in places:
            y[(slice(None), *m)] += x[(slice(None), *n)] ** 2
            dx[(slice(None), *n)] += 2 * x[(slice(None), *n)] * dy[(slice(None), *m)]
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
