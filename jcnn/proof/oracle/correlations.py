"""The correlations and the dense layer on whole numbers, one tap of the window at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from jcnn.proof.oracle.formula import Arrays, Formula, unchanged
from jcnn.proof.oracle.window import Window

Shape = tuple[int, ...]


def _times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)


def _each_group(groups: int, *arrays: np.ndarray) -> Iterator[Arrays]:
    return zip(*(np.split(a, groups, axis=-1) for a in arrays), strict=True)


def correlation(window: Window, groups: int, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """y[m, d] = sum_k sum_c w[k, c, d] x[s m + r k - p, c]."""
    y = np.zeros((x.shape[0], *window.output, w.shape[-1]), np.int64)
    for k, view in window.taps_of(window.pad(x)):
        y += np.concatenate([_times(*pair) for pair in _each_group(groups, view, w[k])], -1)
    return y


def input_gradient(window: Window, groups: int, dy: np.ndarray, w: np.ndarray) -> np.ndarray:
    """dx[s m + r k - p, c] += sum_d w[k, c, d] dy[m, d]."""
    dx = window.zeros(dy.shape[0], w.shape[-2] * groups)
    for k, view in window.taps_of(dx):
        view += np.concatenate([_times(a, b.T) for a, b in _each_group(groups, dy, w[k])], -1)
    return window.crop(dx)


def kernel_gradient(window: Window, groups: int, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """dw[k, c, d] = sum_m dy[m, d] x[s m + r k - p, c]."""
    dw = np.zeros((*window.window, x.shape[-1] // groups, dy.shape[-1]), np.int64)
    for k, view in window.taps_of(window.pad(x)):
        pairs = _each_group(groups, view, dy)
        dw[k] = np.concatenate(
            [_times(a.reshape(-1, a.shape[-1]).T, b.reshape(-1, b.shape[-1])) for a, b in pairs], -1
        )
    return dw


def _flip(w: np.ndarray) -> np.ndarray:
    return np.flip(w, tuple(range(w.ndim - 2)))


def _exchange(groups: int, w: np.ndarray) -> np.ndarray:
    """Input and output channels change places within each group."""
    return np.concatenate([np.swapaxes(part, -1, -2) for part in np.split(w, groups, -1)], -1)


def _bilinear(
    forward: Callable[..., np.ndarray],
    backward: Callable[..., Arrays],
    terms: int,
    window: Window | None = None,
    kernel: Callable[[np.ndarray], np.ndarray] = unchanged,
) -> Formula:
    """Give f(x, w) + b, of the bilinear ``forward`` and its two gradients, as a formula."""

    def value(x: np.ndarray, w: np.ndarray, b: np.ndarray | int = 0) -> np.ndarray:
        return forward(x, w) + b

    def pullback(dy: np.ndarray, x: np.ndarray, w: np.ndarray, *b: np.ndarray) -> Arrays:
        return *backward(dy, x, w), *(dy.sum(tuple(range(dy.ndim - a.ndim))) for a in b)

    def tangent(v: Arrays, x: np.ndarray, w: np.ndarray, *b: np.ndarray) -> np.ndarray:
        return value(v[0], w, *v[2:]) + forward(x, v[1])

    def curvature(dy: np.ndarray, v: Arrays, x: np.ndarray, w: np.ndarray, *b: Any) -> Arrays:
        return *backward(dy, v[0], v[1]), *map(np.zeros_like, b)

    return Formula(
        "bilinear", value, pullback, tangent, curvature, terms, window=window, kernel=kernel
    )


def correlate(x: Shape, w: Shape, options: dict[str, Any], *, flips: bool = False) -> Formula:
    """Correlation, or convolution where the kernel ``flips``."""
    groups = options.pop("groups", 1)
    at = Window.of(x[1:-1], w[:-2], **options)
    turn = _flip if flips else unchanged
    of_input = at.copies * at.taps * w[-1] // groups
    terms = max(at.taps * w[-2], of_input, x[0] * prod(at.output)) + 1
    return _bilinear(
        lambda x, w: correlation(at, groups, x, turn(w)),
        lambda dy, x, w: (
            input_gradient(at, groups, dy, turn(w)),
            turn(kernel_gradient(at, groups, x, dy)),
        ),
        terms,
        at,
        turn,
    )


def convolve_transpose(x: Shape, w: Shape, options: dict[str, Any]) -> Formula:
    """The adjoint of correlation in x, from the correlation's output to its input."""
    groups = options.pop("groups", 1)
    at = _transposed(x[1:-1], w[:-2], **options)
    exchange = partial(_exchange, groups)
    of_output = at.copies * at.taps * w[-2]
    terms = max(of_output, at.taps * w[-1] // groups, x[0] * prod(at.size)) + 1
    return _bilinear(
        lambda x, w: input_gradient(at, groups, x, exchange(w)),
        lambda dy, x, w: (
            correlation(at, groups, dy, exchange(w)),
            exchange(kernel_gradient(at, groups, dy, x)),
        ),
        terms,
        at,
        exchange,
    )


def _transposed(
    inner: Any,
    window: Any,
    strides: Any = 1,
    padding: Any = "VALID",
    dilation: Any = 1,
    output_padding: Any = 0,
) -> Window:
    """The correlation that a transposed convolution of ``inner`` is the adjoint of."""
    at = Window.of(inner, window, strides, "VALID", dilation)
    if isinstance(padding, str) and padding.upper() not in ("VALID", "FULL"):
        size = [s * n for s, n in zip(at.strides, inner, strict=True)]
    else:
        cut = Window.of(inner, window, strides, padding, dilation).padding
        size = [
            s * (n - 1) + d * (k - 1) + 1 - lo - hi
            for s, n, d, k, (lo, hi) in zip(
                at.strides, inner, at.dilation, at.window, cut, strict=True
            )
        ]
    whole = Window.of(size, window, strides, padding, dilation)
    more = np.broadcast_to(output_padding, len(size)).tolist()
    if not any(more):
        return whole
    # as many windows as before, which end the more before the end of the input
    behind = zip(whole.padding, size, more, at.strides, at.dilation, at.window, inner, strict=True)
    edges = tuple(
        (lo, min(hi, s * (m - 1) + d * (k - 1) + 1 - lo - n - a))
        for (lo, hi), n, a, s, d, k, m in behind
    )
    size = tuple(n + a for n, a in zip(size, more, strict=True))
    return replace(whole, size=size, padding=edges)


def dense(x: Shape, w: Shape, options: dict[str, Any]) -> Formula:
    """Y = x w + b over the last axis."""
    rows = prod(x[:-1])
    return _bilinear(
        _times,
        lambda dy, x, w: (
            _times(dy, w.T),
            _times(x.reshape(rows, -1).T, dy.reshape(rows, -1)),
        ),
        max(*w, rows) + 1,
    )
