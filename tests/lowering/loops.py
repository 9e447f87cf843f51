"""The correlations and pools as NumPy loops: the oracle of this folder's tests."""

from __future__ import annotations

from itertools import product

import numpy as np

from jcnn.lowering import Geometry


def windows(g: Geometry):
    """Every (output position, tap, input position or None in the padding)."""
    for m in product(*map(range, g.output)):
        for k in product(*map(range, g.window)):
            n = tuple(
                s * i + d * j - lo
                for s, i, d, j, (lo, _) in zip(g.strides, m, g.dilation, k, g.padding, strict=True)
            )
            inside = all(0 <= i < size for i, size in zip(n, g.size, strict=True))
            yield m, k, n if inside else None


def _groups(g: Geometry, channels: int, features: int):
    for i in range(g.groups):
        c, d = channels // g.groups, features // g.groups
        yield slice(i * c, (i + 1) * c), slice(i * d, (i + 1) * d)


def correlate(g, x, w):
    y = np.zeros((x.shape[0], *g.output, w.shape[-1]))
    for m, k, n in windows(g):
        for c, d in _groups(g, x.shape[-1], w.shape[-1]):
            if n is not None:
                y[(slice(None), *m, d)] += x[(slice(None), *n, c)] @ w[k][:, d]
    return y


def input_gradient(g, dy, w):
    dx = np.zeros((dy.shape[0], *g.size, w.shape[-2] * g.groups))
    for m, k, n in windows(g):
        for c, d in _groups(g, dx.shape[-1], w.shape[-1]):
            if n is not None:
                dx[(slice(None), *n, c)] += dy[(slice(None), *m, d)] @ w[k][:, d].T
    return dx


def kernel_gradient(g, x, dy):
    dw = np.zeros((*g.window, x.shape[-1] // g.groups, dy.shape[-1]))
    for m, k, n in windows(g):
        for c, d in _groups(g, x.shape[-1], dy.shape[-1]):
            if n is not None:
                dw[k][:, d] += x[(slice(None), *n, c)].T @ dy[(slice(None), *m, d)]
    return dw


def max_pool(g, x, floor=None):
    y = np.full((x.shape[0], *g.output, x.shape[-1]), -np.inf)
    winner = np.zeros(y.shape, int)
    for m, k, n in windows(g):
        at = (slice(None), *m)
        value = np.full_like(y[at], -np.inf) if n is None else x[(slice(None), *n)]
        better = value > y[at]
        winner[at] = np.where(better, np.ravel_multi_index(k, g.window), winner[at])
        y[at] = np.where(better, value, y[at])
    if floor is None:
        return y, winner
    return np.maximum(y, floor), np.where(y > floor, winner, none(g))


def none(g):
    return 255 if g.taps < 255 else 65535 if g.taps < 65535 else 2**32 - 1


def gather(g, x, winner):
    y = np.zeros(winner.shape)
    for m, k, n in windows(g):
        if n is not None:
            won = winner[(slice(None), *m)] == np.ravel_multi_index(k, g.window)
            y[(slice(None), *m)] += np.where(won, x[(slice(None), *n)], 0)
    return y


def scatter(g, dy, winner):
    dx = np.zeros((dy.shape[0], *g.size, dy.shape[-1]))
    for m, k, n in windows(g):
        if n is not None:
            won = winner[(slice(None), *m)] == np.ravel_multi_index(k, g.window)
            dx[(slice(None), *n)] += np.where(won, dy[(slice(None), *m)], 0)
    return dx


def window_sum(g, x):
    y = np.zeros((x.shape[0], *g.output, x.shape[-1]))
    for m, _, n in windows(g):
        if n is not None:
            y[(slice(None), *m)] += x[(slice(None), *n)]
    return y


def window_spread(g, dy):
    dx = np.zeros((dy.shape[0], *g.size, dy.shape[-1]))
    for m, _, n in windows(g):
        if n is not None:
            dx[(slice(None), *n)] += dy[(slice(None), *m)]
    return dx
