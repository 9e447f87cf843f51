"""Which parameters something is for: by their names, their layers and their axes."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase
from typing import Any

import jax
from optax.contrib import MuonDimensionNumbers


def kernels(params: Any) -> Any:
    """Mask of the parameters named ``w``.

    >>> kernels({"dense_1": {"w": 0.5, "b": 0.0}})
    {'dense_1': {'b': False, 'w': True}}
    """
    return named(params, ("w",))


def matrices(params: Any, least_axes: int = 2) -> Any:
    """Say how Optax's Muon reads each kernel as a matrix: a column per feature; None for the rest.

    >>> import numpy as np
    >>> params = {"conv_1": {"w": np.zeros((3, 3, 8, 16)), "b": np.zeros(16)}}
    >>> matrices(params)["conv_1"]["w"]
    MuonDimensionNumbers(reduction_axis=(0, 1, 2), output_axis=3)
    """

    def matrix(path: Any, leaf: Any) -> MuonDimensionNumbers | None:
        if path[-1].key != "w" or leaf.ndim < least_axes:
            return None
        return MuonDimensionNumbers(tuple(range(leaf.ndim - 1)), leaf.ndim - 1)

    return jax.tree_util.tree_map_with_path(matrix, params)


def named(params: Any, names: Collection[str] | None, layers: Collection[str] | None = None) -> Any:
    """Mask of the parameters of these names in layers of these patterns; None is any.

    >>> named({"conv_1": {"w": 0.5}, "dense_1": {"w": 0.5}}, ("w",), ("conv_*",))
    {'conv_1': {'w': True}, 'dense_1': {'w': False}}
    """

    def fits(path: Any, _: Any) -> bool:
        name, layer = path[-1].key, path[0].key
        return (names is None or name in names) and (
            layers is None or any(fnmatchcase(layer, pattern) for pattern in layers)
        )

    return jax.tree_util.tree_map_with_path(fits, params)
