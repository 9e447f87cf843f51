"""The bilinear, linear and selecting operations on whole numbers: the oracle of exact comparison.

Written from the formulas in NumPy, one tap of a window at a time, and sharing nothing with
:mod:`jcnn.ops` or :mod:`jcnn.lowering`. All arrays hold int64; matrix products of them are taken in
float64, for which NumPy has a library and which is exact below 2^53, the callers' limit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from jcnn.proof.oracle import correlations, pools
from jcnn.proof.oracle.formula import Arrays, Formula
from jcnn.proof.oracle.window import Window

__all__ = ["Arrays", "Formula", "Window", "formula"]

_BILINEAR: dict[str, Callable[..., Formula]] = {
    "convolve": partial(correlations.correlate, flips=True),
    "convolve_transpose": correlations.convolve_transpose,
    "correlate": correlations.correlate,
    "dense": correlations.dense,
}
_OF_ONE_ARRAY: dict[str, Callable[..., Formula]] = {
    "average_pool": pools.average_pool,
    "decimate": pools.decimate,
    "dropout": pools.dropout,
    "global_average_pool": pools.global_average_pool,
    "global_max_pool": pools.global_max_pool,
    "max_pool": pools.max_pool,
    "pad": pools.pad,
    "relu": pools.relu,
    "relu_max_pool": partial(pools.max_pool, floor=0),
    "square_pool": pools.square_pool,
}
OPERATIONS = frozenset({*_BILINEAR, *_OF_ONE_ARRAY})


def formula(op: str, shapes: tuple[tuple[int, ...], ...], options: dict[str, Any]) -> Formula:
    """Return the formula of one of ``OPERATIONS`` for arguments of given shapes.

    Args:
        op: The operation's name in :mod:`jcnn.ops`.
        shapes: The shapes of its floating arrays, in order; a bias's changes nothing.
        options: Its other arguments, by name.
    """
    if op in _BILINEAR:
        return _BILINEAR[op](*shapes[:2], dict(options))
    return _OF_ONE_ARRAY[op](shapes[0], dict(options))
