"""Arrays that lie on the devices of several processes: each writes the parts that it holds.

A part is named after its array and where it begins, ``dense_1.w@0,2048``; an array that a process
holds whole has its own name, and is written by the first one alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

Arrays = dict[str, np.ndarray]


class Writers(Protocol):
    """The processes that write together."""

    @property
    def index(self) -> int:
        """Which of them this one is."""
        ...

    @property
    def count(self) -> int:
        """How many they are."""
        ...

    def meet(self) -> None:
        """Wait until all are here; from one thread of each process, the same times in all."""


class Single:
    """The only one that writes."""

    index, count = 0, 1

    def meet(self) -> None:
        """See :meth:`Writers.meet`."""


def numbers(a: Any) -> Any:
    """Return an array as it is, and random keys as the numbers that they are made of."""
    return jax.random.key_data(a) if is_key(a) else a


def is_key(a: Any) -> bool:
    """Whether an array is of random keys."""
    return jnp.issubdtype(a.dtype, jax.dtypes.prng_key)


def name_of(path: Any) -> str:
    """Name an array by its path in its tree."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def is_spread(tree: Any) -> bool:
    """Whether no process holds all of it."""
    return any(map(_is_spread, jax.tree.leaves(tree)))


def _is_spread(a: Any) -> bool:
    return isinstance(a, jax.Array) and not (a.is_fully_addressable or a.is_fully_replicated)


def own_parts(tree: Any, index: int = 0) -> Arrays:
    """Copy what the process of this index writes of a tree into NumPy's arrays, by name."""
    parts: Arrays = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name, array = name_of(path), numbers(leaf)
        if not _is_spread(array):
            if not index:
                parts[name] = np.array(array)
            continue
        for shard in array.addressable_shards:
            if shard.replica_id == 0:  # of several copies one is written
                start = ",".join(str(along.start or 0) for along in shard.index)
                parts[f"{name}@{start}"] = np.array(shard.data)
    return parts


def joined(files: Iterable[Mapping[str, np.ndarray]], shapes: Mapping[str, Any]) -> Arrays:
    """Put parts together again.

    Args:
        files: What each process wrote.
        shapes: Shape and dtype of the arrays that are expected, by name.

    Returns:
        The arrays by name. One whose parts don't fill it, or fit into what is expected, is left
        in parts: its own name is missing.
    """
    found: Arrays = {}
    parts: dict[str, Arrays] = {}
    for name, array in (entry for file in files for entry in file.items()):
        whole, _, start = name.partition("@")
        if start:
            parts.setdefault(whole, {})[start] = array
        else:
            found[name] = array
    for name, pieces in parts.items():
        array = _filled(pieces, shapes.get(name))
        if array is not None:
            found[name] = array
        else:
            found |= {f"{name}@{start}": piece for start, piece in pieces.items()}
    return found


def _filled(pieces: Mapping[str, np.ndarray], like: Any) -> np.ndarray | None:
    """Return the array that the pieces fill exactly, each from where it begins, or None."""
    if like is None or sum(piece.size for piece in pieces.values()) != np.prod(like.shape):
        return None
    array, seen = np.empty(like.shape, like.dtype), np.zeros(like.shape, bool)
    for begins, piece in pieces.items():
        start = [int(along) for along in begins.split(",")]
        if not len(start) == piece.ndim == array.ndim or piece.dtype != array.dtype:
            return None
        where = tuple(slice(s, s + n) for s, n in zip(start, piece.shape, strict=True))
        if array[where].shape != piece.shape:
            return None
        array[where], seen[where] = piece, True
    return array if seen.all() else None
