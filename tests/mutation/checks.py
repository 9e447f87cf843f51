"""One small problem after another: is this ``ops`` right on it?

Whole numbers in float64, where they are exact but for the divisions of minimal filtering: a number
is right if it lies within a millionth of the oracle's. What isn't made of sums, products and
selections is held against ``jax.grad`` of the reference. Programs are compiled without XLA's
optimizations, in a tenth of a second: judged is the code, and not the compiler.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcnn import reference
from jcnn.proof import Call
from jcnn.proof.oracle import formula
from tests.cases import Case

Derivatives = list[np.ndarray]
CLOSE = 1e-6
BLOCK_BYTES = 4_000


def exact(ops: Any, problem: Call, lowering: str | None = None) -> bool:
    """Value and gradients of a problem, in a lowering; second order in those that are chosen."""
    names, shapes, _ = zip(*problem.arrays, strict=True)
    options = dict(problem.statics)
    f = formula(problem.op, shapes, options)
    op = getattr(ops, problem.op)
    generator = np.random.default_rng(0)

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        return f.multiple * generator.integers(-3, 4, shape)

    x = [draw(shape) for shape in shapes]
    dy, v = draw(f.value(*x).shape), [draw(shape) for shape in shapes]
    # The second derivatives of a correlation run through the same lowerings.
    second = lowering is None
    with _forced(lowering), _small_blocks():
        found = derivatives(
            lambda *a: op(**dict(zip(names, a, strict=True)), **options), dy, x, v, second
        )
    expected = [f.value(*x), *f.pullback(dy, *x)]
    if second:
        expected += [f.tangent(v, *x), *f.curvature(dy, v, *x)]
    return _all_near(found, expected, rtol=0, atol=CLOSE)


def against_reference(ops: Any, case: Case, at_zero: bool = False) -> bool:
    """Value, gradients and second order of a case; at zero, where rectifiers have their kink."""
    args = [jnp.asarray(a) for a in case.arguments()]
    places = [i for i, a in enumerate(args) if jnp.issubdtype(a.dtype, jnp.floating)]
    free = [np.zeros(args[i].shape) if at_zero else np.asarray(args[i]) for i in places]
    generator = np.random.default_rng(1)
    v = [generator.standard_normal(a.shape) for a in free]

    def flat(namespace: Any) -> Callable[..., jax.Array]:
        function = case.function(namespace)

        def run(*free: jax.Array) -> jax.Array:
            whole = dict(enumerate(args)) | dict(zip(places, free, strict=True))
            return jnp.concatenate([a.ravel() for a in jax.tree.leaves(function(*whole.values()))])

        return run

    dy = generator.standard_normal(jax.eval_shape(flat(reference), *free).shape)
    found = derivatives(flat(ops), dy, free, v)
    if (case.id, at_zero) not in _EXPECTED:
        _EXPECTED[case.id, at_zero] = derivatives(flat(reference), dy, free, v)
    return _all_near(found, _EXPECTED[case.id, at_zero], rtol=1e-9, atol=1e-11)


_EXPECTED: dict[tuple[str, bool], Derivatives] = {}


LARGE = np.array([[1e4, -1e4, 0.0], [800.0, 790.0, -5.0]])
EXTREMES: dict[str, Callable[[Any], bool]] = {
    "softmax": lambda ops: _finite(ops.softmax),
    "softmax_cross_entropy": lambda ops: _finite(
        lambda a: ops.softmax_cross_entropy(a, jnp.array([0, 1]))
    ),
    "binary_cross_entropy": lambda ops: _finite(
        lambda a: ops.binary_cross_entropy(a, jnp.ones((2, 3)))
    ),
}


def _finite(f: Callable[[jax.Array], jax.Array]) -> bool:
    """Whether value and gradient are finite, and no slope larger than one."""
    y, pull = jax.vjp(f, jnp.asarray(LARGE))
    (da,) = pull(jnp.ones_like(y))
    return bool(jnp.isfinite(y).all() and (jnp.abs(da) <= 1).all())


def sums_in_float32(ops: Any) -> bool:
    """A sum of halves is rounded once: of 1 and eight parts that one by one would be lost."""
    x = jnp.full((1, 9, 1), 2.0**-9, jnp.bfloat16).at[0, 0].set(1)
    sums = [ops.square_pool(jnp.sqrt(x), 9), ops.correlate(x, jnp.ones_like(x).reshape(9, 1, 1))]
    pooled = ops.average_pool(x, 9)
    halves = all(y.dtype == jnp.bfloat16 for y in (*sums, pooled))
    return halves and [y.item() for y in (*sums, 9 * pooled)] == [1 + 2.0**-6] * 3


def derivatives(
    function: Callable[..., jax.Array],
    dy: np.ndarray,
    x: Sequence[np.ndarray],
    v: Sequence[np.ndarray],
    second: bool = True,
) -> Derivatives:
    """Value, gradients, and the gradients of <gradients, v> in dy and in each argument."""
    free = [np.asarray(a, np.float64) for a in (dy, *x)]

    def along_v(dy: jax.Array, *x: jax.Array) -> jax.Array:
        gradients = jax.vjp(function, *x)[1](dy)
        return sum(jnp.vdot(a, jnp.asarray(b, a.dtype)) for a, b in zip(gradients, v, strict=True))

    def run(dy: jax.Array, *x: jax.Array) -> list[jax.Array]:
        y, pull = jax.vjp(function, *x)
        first = [y, *pull(dy)]
        return [*first, *jax.grad(along_v, tuple(range(len(free))))(dy, *x)] if second else first

    program = jax.jit(run).lower(*free).compile(compiler_options=_unoptimized())
    return [np.asarray(a) for a in program(*free)]


@cache
def _unoptimized() -> dict[str, Any]:
    """Options with which XLA compiles fastest; not every version knows the second."""
    level = {"xla_backend_optimization_level": 0}
    wanted = {**level, "xla_cpu_use_fusion_emitters": False}
    try:
        jax.jit(lambda x: x + 1).lower(1.0).compile(compiler_options=wanted)
    except jax.errors.JaxRuntimeError:
        return level
    return wanted


def _all_near(found: Derivatives, expected: Derivatives, rtol: float, atol: float) -> bool:
    return all(
        a.shape == e.shape and np.allclose(a, e, rtol, atol)
        for a, e in zip(found, expected, strict=True)
    )


def _forced(lowering: str | None) -> Any:
    return sys.modules["jcnn.lowering"].forced(lowering) if lowering else nullcontext()


@contextmanager
def _small_blocks() -> Iterator[None]:
    """Blocks of a few images, and a remainder, even at this size."""
    modules = [sys.modules[f"jcnn.lowering.{name}"] for name in ("patches", "winograd", "direct")]
    before = [module.BLOCK_BYTES for module in modules]
    for module in modules:
        module.BLOCK_BYTES = BLOCK_BYTES
    try:
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.BLOCK_BYTES = value
