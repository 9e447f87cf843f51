"""The compiled loops against XLA's own operations: how far apart on small arrays."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jcnn.geometry import Geometry
from jcnn.lowering.native import library
from jcnn.lowering.problem import CORRELATIONS

IMAGES = 5
_EDGES, _ONE = ((1, 2), (0, 1)), (1, 1)
# Geometries with edges that no tile and no vector fills; the folded windows are 5x5 too.
_FILTERED = Geometry((11, 14), (3, 3), _ONE, _EDGES, _ONE)
_WIDE = Geometry((11, 14), (5, 5), _ONE, _EDGES, _ONE)
_FOLDED = Geometry((23, 29), (9, 9), (2, 2), _EDGES, _ONE)
_STRIDED = Geometry((12, 15), (4, 3), (2, 1), _EDGES, (1, 2))
# Channels that four vectors, one, and a part of one fill, whichever of 4 to 16 elements.
_ALL_VECTORS = 83


class Case(NamedTuple):
    """A lowering and what it is held against XLA's own on.

    Attributes:
        lowering: Its name.
        g: Where the windows stand.
        channels: Of each group.
        features: Of each group.
        half: Whether arrays are of bfloat16.
        rounded: Whether products are.
    """

    lowering: str
    g: Geometry
    channels: int = 19
    features: int = 37
    half: bool = False
    rounded: bool = False

    @property
    def limit(self) -> float:
        """What no loop differs by, over the largest value, but one that was compiled wrongly.

        Minimal filtering rounds to some 1e-5, of bfloat16 to 3e-3 and by products of it to 2e-2;
        other correlations to 1e-6.
        """
        return 5e-2 if self.rounded else 1e-2 if self.half else 1e-4


# Together they meet every loop of the library; sums of many channels are shared by all cores.
CASES = {
    "native_winograd": Case("native_winograd", _FILTERED),
    "native_winograd in groups": Case("native_winograd", replace(_FILTERED, groups=3)),
    "native_winograd of many channels": Case("native_winograd", _FILTERED, 131, 113),
    "native_winograd of bfloat16": Case("native_winograd", _FILTERED, half=True),
    "native_winograd of 5x5 and bfloat16": Case("native_winograd", _WIDE, half=True),
    "native_winograd by products of bfloat16": Case("native_winograd", _FILTERED, rounded=True),
    "native_winograd of bfloat16 by its products": Case(
        "native_winograd", _FILTERED, half=True, rounded=True
    ),
    "fold_native_winograd": Case("fold_native_winograd", _FOLDED),
    "native_patches": Case("native_patches", _STRIDED),
    "native_patches in groups": Case("native_patches", replace(_STRIDED, groups=3)),
    "native_patches of many channels": Case("native_patches", _STRIDED, 131, 113),
    "native_patches to three features": Case("native_patches", _STRIDED, features=3),
    "native_patches to one feature": Case("native_patches", _STRIDED, features=1),
    "native_grouped": Case("native_grouped", replace(_FILTERED, groups=3)),
    "native_depthwise": Case("native_depthwise", replace(_STRIDED, groups=_ALL_VECTORS), 1, 1),
}
# Of each dtype of winners a pool, and its channels.
POOLS = {
    "max_pool": (Geometry((12, 15), (3, 3), (2, 2), _EDGES, _ONE), 19),
    "max_pool of 16x16": (Geometry((35, 38), (16, 16), (16, 16), _EDGES, _ONE), _ALL_VECTORS),
    "max_pool of 256x257": (Geometry((257, 257), (256, 257), _ONE, _EDGES, _ONE), 3),
}


def differences() -> dict[str, float]:
    """Return for each case the largest difference, over the largest value of the result.

    A max pool does not round: there it is the largest difference itself.
    """
    found = {
        name: max(_difference(case, operation) for operation in CORRELATIONS)
        for name, case in CASES.items()
        if library.pairs() or not case.rounded
    }
    return {**found, **{name: _of_pool(*pool) for name, pool in POOLS.items()}}


def wrong(found: dict[str, float]) -> dict[str, float]:
    """Return those of the differences that are too large."""
    limits = {name: case.limit for name, case in CASES.items()} | dict.fromkeys(POOLS, 0.0)
    return {name: off for name, off in found.items() if not off <= limits[name]}


def _of_pool(g: Geometry, channels: int) -> float:
    """The same of a max pool, its winners and their adjoint, by their plain lowerings."""
    from jcnn import lowering

    x = np.random.default_rng(0).standard_normal((IMAGES, *g.size, channels))
    results = []
    for name, back in (("native", "native"), ("doubling", "placed")):
        with lowering.forced(max_pool=name, scatter=back):
            y, winner = jax.jit(lowering.max_pool, static_argnums=0)(g, jnp.asarray(x, jnp.float32))
            whole = jnp.round(4 * y)  # whose sums are the same in any order
            dx = jax.jit(lowering.scatter, static_argnums=0)(g, whole, winner)
            results.append((y, winner, dx))
    return max(_apart(*pair) for pair in zip(*results, strict=True))


def _apart(got: jax.Array, expected: jax.Array) -> float:
    """The largest difference, NaN where there is one."""
    return float(np.abs(np.asarray(got, np.float64) - np.asarray(expected, np.float64)).max())


def _difference(case: Case, operation: str) -> float:
    from jcnn import lowering

    dtype = jnp.bfloat16 if case.half else jnp.float32
    given = [a.astype(dtype) for a in _arrays(case)[operation]]
    run = getattr(lowering, operation)
    with ExitStack() as stack:
        stack.enter_context(lowering.forced(case.lowering))
        if case.rounded:
            stack.enter_context(jax.default_matmul_precision("bfloat16"))
        got = jax.jit(run, static_argnums=0)(case.g, *given)
    with lowering.forced("xla"), jax.default_matmul_precision("float32"):
        wide = [a.astype(jnp.float32) for a in given]
        expected = jax.jit(run, static_argnums=0)(case.g, *wide)
    return _apart(got, expected) / float(np.abs(expected).max())


def _arrays(case: Case) -> dict[str, tuple[jax.Array, jax.Array]]:
    rng, g = np.random.default_rng(0), case.g
    features = case.features * g.groups
    shapes = {
        "x": (IMAGES, *g.size, case.channels * g.groups),
        "w": (*g.window, case.channels, features),
        "dy": (IMAGES, *g.output, features),
    }
    a = {k: jnp.asarray(rng.standard_normal(s), jnp.float32) for k, s in shapes.items()}
    pairs = zip(CORRELATIONS, ("xw", ("dy", "w"), ("x", "dy")), strict=True)
    return {operation: (a[one], a[other]) for operation, (one, other) in pairs}
