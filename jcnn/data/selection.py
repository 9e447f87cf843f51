"""Which examples belong to a part of a data set: by class proportions and position, not by chance.

Nothing here draws random numbers, so a part is the same with every version of every library.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def most_taken(labels: np.ndarray) -> int:
    """How many examples can be taken where each class keeps one.

    >>> most_taken(np.array([0, 0, 0, 0, 1, 1]))
    4
    """
    return len(labels) - len(np.unique(labels))


def class_quotas(labels: np.ndarray, count: int, *, kept: int = 0) -> dict[int, int]:
    """Share ``count`` examples among the classes in their proportions (largest remainder).

    Each class keeps ``kept`` of its examples, 0 or 1; what it would have given, larger ones give.

    >>> class_quotas(np.array([0, 0, 0, 0, 1, 1]), 3)
    {0: 2, 1: 1}
    >>> class_quotas(np.array([0, 1, 1, 1]), 2), class_quotas(np.array([0, 1, 1, 1]), 2, kept=1)
    ({0: 1, 1: 1}, {0: 0, 1: 2})
    """
    classes, sizes = np.unique(labels, return_counts=True)
    # whole numbers throughout: ties are decided by the class number, not by rounding errors
    quotas, remainders = np.divmod(sizes * count, len(labels))
    most_deprived = np.argsort(-remainders, kind="stable")
    # only the last example of a class is ever held back, and a share rounded down leaves that
    while (left := count - quotas.sum()) > 0:
        able = most_deprived[(quotas < sizes - kept)[most_deprived]]
        quotas[able[:left]] += 1
    return {int(c): int(q) for c, q in zip(classes, quotas, strict=True)}


def _choose(
    labels: np.ndarray,
    count: int,
    positions: Callable[[int, int], np.ndarray],
    *,
    kept: int = 0,
) -> np.ndarray:
    chosen = []
    for label, quota in class_quotas(labels, count, kept=kept).items():
        members = np.flatnonzero(labels == label)
        chosen.append(members[positions(len(members), quota)])
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.intp)


def stratified_first(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices of ``count`` examples, the first ones of each class, in the order of the data.

    >>> stratified_first(np.array([0, 0, 1, 0, 1, 0]), 3)
    array([0, 1, 2])
    """
    return _choose(labels, count, lambda size, quota: np.arange(quota))


def stratified_last(labels: np.ndarray, count: int, *, kept: int = 0) -> np.ndarray:
    """Indices of ``count`` examples, the last ones of each class, in the order of the data.

    Each class keeps ``kept`` of its examples: :func:`class_quotas`.

    >>> stratified_last(np.array([0, 0, 1, 0, 1, 0]), 3)
    array([3, 4, 5])
    """
    return _choose(labels, count, lambda size, quota: np.arange(size - quota, size), kept=kept)


def stratified_spread(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices of ``count`` examples, evenly spread over each class, in the order of the data.

    >>> stratified_spread(np.zeros(10, int), 2)
    array([2, 7])
    """
    return _choose(
        labels, count, lambda size, quota: (2 * np.arange(quota) + 1) * size // (2 * max(quota, 1))
    )
