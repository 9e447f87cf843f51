"""What the oracle knows of an operation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jcnn.proof.oracle.window import Window

Arrays = tuple[np.ndarray, ...]


def unchanged(a: np.ndarray) -> np.ndarray:
    """Return the array as it is."""
    return a


@dataclass(frozen=True)
class Formula:
    """One operation f on whole numbers.

    Attributes:
        kind: "bilinear", "linear" or "selecting".
        value: ``value(*arrays)``.
        pullback: ``pullback(dy, *arrays)``: the gradient of <dy, f> for each array.
        tangent: ``tangent(v, *arrays)``: f's derivative along v, which is the derivative of
            <pullback, v> with respect to dy.
        curvature: ``curvature(dy, v, *arrays)``: its derivative with respect to each array.
        terms: The most terms, each a product of two drawn numbers at most, in an element of any.
        multiple: What inputs and cotangents must be multiples of, for division to be exact.
        roundings: How often a linear map's program may round all the same, where it divides by
            what isn't a power of two: XLA multiplies by the reciprocal, and may fuse the addition.
        window: Of a correlation, where its windows stand.
        kernel: Of a correlation, how its kernel is turned before it is correlated with; its own
            inverse.
    """

    kind: str
    value: Callable[..., np.ndarray]
    pullback: Callable[..., Arrays]
    tangent: Callable[..., np.ndarray]
    curvature: Callable[..., Arrays]
    terms: int
    multiple: int = 1
    roundings: int = 0
    window: Window | None = None
    kernel: Callable[[np.ndarray], np.ndarray] = unchanged


def linear(
    forward: Callable[[np.ndarray], np.ndarray],
    backward: Callable[[np.ndarray], np.ndarray],
    terms: int,
    multiple: int = 1,
    roundings: int = 0,
) -> Formula:
    """Give a linear map and its adjoint as a formula."""
    return Formula(
        "linear",
        forward,
        lambda dy, x: (backward(dy),),
        lambda v, x: forward(v[0]),
        lambda dy, v, x: (np.zeros_like(x),),
        terms,
        multiple,
        roundings,
    )


def selecting(
    first: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    pick: Callable[[np.ndarray, np.ndarray], np.ndarray],
    place: Callable[[np.ndarray, np.ndarray], np.ndarray],
    terms: int,
) -> Formula:
    """Give a selection as a formula: ``first(x)`` is what is selected, and where it stood."""
    return Formula(
        "selecting",
        lambda x: first(x)[0],
        lambda dy, x: (place(dy, first(x)[1]),),
        lambda v, x: pick(v[0], first(x)[1]),
        lambda dy, v, x: (np.zeros_like(x),),
        terms,
    )
