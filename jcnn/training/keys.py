"""What is random in a run: functions of the seed and of where training stands.

Nothing random is carried along, so a resumed run draws the same bits as an uninterrupted one.
"""

from __future__ import annotations

from typing import TypeAlias

import jax
import numpy as np
from jax import Array

_INIT, _STEP = range(2)

# An argument of a compiled program, np.uint32, or a number that stands in it.
Seed: TypeAlias = int | np.uint32 | Array


def init_key(seed: Seed) -> Array:
    """Return the key of the initial parameters."""
    return jax.random.fold_in(jax.random.key(seed), _INIT)


def shuffled(seed: int, epoch: int, count: int) -> np.ndarray:
    """Return an epoch's order of ``count`` examples, int32; drawn by NumPy, so that none compiles.

    >>> sorted(shuffled(0, 1, 4).tolist())
    [0, 1, 2, 3]
    """
    return np.random.default_rng((seed, epoch)).permutation(count).astype(np.int32)


def step_key(seed: Seed, step: int | Array) -> Array:
    """Return the key of a step: its augmentation and its dropout."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), _STEP), step)
