"""The compiled loops against XLA's own operations: how far apart on small arrays."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jcnn.geometry import Geometry
from jcnn.lowering.native import library
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
# Two more of native_winograd's case: by arrays of bfloat16, and by products of it.
HALF, ROUNDED = "native_winograd of bfloat16", "native_winograd by products of bfloat16"
# What no loop differs by, but one that was compiled wrongly.
LIMIT, LIMITS = 1e-4, {HALF: 1e-2, ROUNDED: 5e-2}
POOL = Geometry((12, 15), (3, 3), (2, 2), _EDGES, _ONE)
IMAGES, CHANNELS, FEATURES = 5, 19, 37


def differences() -> dict[str, float]:
    """Return for each lowering the largest difference, over the largest value of the result.

    Minimal filtering rounds to some 1e-5, of bfloat16 to 3e-3 and by products of it to 2e-2; other
    correlations to 1e-6; a max pool does not.
    """
    found = {name: _largest(name, g) for name, g in CASES.items()}
    filtered = "native_winograd", CASES["native_winograd"]
    found[HALF] = _largest(*filtered, jnp.bfloat16)
    if library.pairs():
        with jax.default_matmul_precision("bfloat16"):
            found[ROUNDED] = _largest(*filtered)
    return {**found, "max_pool": _of_pool()}


def wrong(found: dict[str, float]) -> dict[str, float]:
    """Return those of the differences that are too large."""
    return {name: off for name, off in found.items() if not off < LIMITS.get(name, LIMIT)}


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


def _largest(name: str, g: Geometry, dtype: type[jnp.generic] = jnp.float32) -> float:
    return max(_difference(name, g, operation, dtype) for operation in CORRELATIONS)


def _difference(name: str, g: Geometry, operation: str, dtype: type[jnp.generic]) -> float:
    from jcnn import lowering

    given = [a.astype(dtype) for a in _arrays(g)[operation]]
    run = getattr(lowering, operation)
    with lowering.allow_native(True), lowering.forced(name):
        got = jax.jit(run, static_argnums=0)(g, *given)
    with lowering.forced("xla"), jax.default_matmul_precision("float32"):
        wide = [a.astype(jnp.float32) for a in given]
        expected = jax.jit(run, static_argnums=0)(g, *wide)
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
