"""The compiled loops against XLA's own operations: how far apart on small arrays."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jcnn.geometry import Geometry
from jcnn.lowering.problem import CORRELATIONS

_EDGES, _ONE = ((1, 2), (0, 1)), (1, 1)
# Of each lowering a geometry with edges that no tile and no vector fills. The folded windows are
# 5x5, so that minimal filtering of both sizes is met.
CASES = {
    "native_winograd": Geometry((11, 14), (3, 3), _ONE, _EDGES, _ONE),
    "fold_native_winograd": Geometry((23, 29), (9, 9), (2, 2), _EDGES, _ONE),
    "native_patches": Geometry((12, 15), (4, 3), (2, 1), _EDGES, (1, 2)),
    "native_grouped": Geometry((11, 14), (3, 3), _ONE, _EDGES, _ONE, groups=3),
    "native_depthwise": Geometry((12, 15), (4, 3), (2, 1), _EDGES, (1, 2), groups=19),
}
POOL = Geometry((12, 15), (3, 3), (2, 2), _EDGES, _ONE)
IMAGES, CHANNELS, FEATURES = 5, 19, 37


def differences() -> dict[str, float]:
    """Return for each lowering the largest difference, over the largest value of the result.

    Minimal filtering rounds to some 1e-5, other correlations to 1e-6; a max pool does not.
    """
    found = {name: max(_difference(name, g, o) for o in CORRELATIONS) for name, g in CASES.items()}
    return {**found, "max_pool": _of_pool()}


def _of_pool() -> float:
    """The same of a max pool and its winners, by its plain lowering."""
    from jcnn import lowering

    x = np.random.default_rng(0).standard_normal((IMAGES, *POOL.size, CHANNELS))
    results = []
    for name in ("native", "views"):
        with lowering.forced(max_pool=name):
            run = jax.jit(lowering.max_pool, static_argnums=0)
            results.append(run(POOL, jnp.asarray(x, jnp.float32)))
    return max(_apart(*pair) for pair in zip(*results, strict=True))


def _apart(got: jax.Array, expected: jax.Array) -> float:
    """The largest difference, NaN where there is one."""
    return float(np.abs(np.asarray(got, np.float64) - np.asarray(expected, np.float64)).max())


def _difference(name: str, g: Geometry, operation: str) -> float:
    from jcnn import lowering

    given = _arrays(g)[operation]
    run = getattr(lowering, operation)
    with lowering.allow_native(True), lowering.forced(name):
        got = jax.jit(run, static_argnums=0)(g, *given)
    with lowering.forced("xla"):
        expected = jax.jit(run, static_argnums=0)(g, *given)
    return _apart(got, expected) / float(np.abs(expected).max())


def _arrays(g: Geometry) -> dict[str, tuple[jax.Array, jax.Array]]:
    rng = np.random.default_rng(0)
    of_each = (1, 1) if g.groups == CHANNELS else (CHANNELS, FEATURES)
    channels, features = (n * g.groups for n in of_each)
    shapes = {
        "x": (IMAGES, *g.size, channels),
        "w": (*g.window, channels // g.groups, features),
        "dy": (IMAGES, *g.output, features),
    }
    a = {k: jnp.asarray(rng.standard_normal(s), jnp.float32) for k, s in shapes.items()}
    pairs = zip(CORRELATIONS, ("xw", ("dy", "w"), ("x", "dy")), strict=True)
    return {operation: (a[one], a[other]) for operation, (one, other) in pairs}
