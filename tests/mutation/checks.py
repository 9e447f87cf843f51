"""One small problem after another: is this ``ops`` right on it?

Whole numbers in float64, where they are exact but for the divisions of minimal filtering: a number
is right if it lies within a millionth of the oracle's. What isn't made of sums, products and
selections is held against ``jax.grad`` of the reference. Programs are compiled without XLA's
optimizations, in a tenth of a second: judged is the code, and not the compiler.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache, partial
from types import ModuleType
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from jcnn import reference
from jcnn.geometry import Geometry
from jcnn.proof import Call
from jcnn.proof.oracle import formula
from tests.cases import Case
from tests.lowering import loops
from tests.ops.examples import MAPPED, Examples
from tests.proof.problems import POOL_WAYS

Derivatives = list[np.ndarray]
CLOSE = 1e-6
# Of blocks that hold a few images, and leave some over, at the size of the problems.
CACHE_BYTES = 400_000


class NegativePaddingError(Exception):
    """XLA's CPU backend reads memory that nobody wrote, and not always the same."""


def exact(
    ops: Any,
    problem: Call,
    lowering: str | None = None,
    outputs: tuple[int, ...] = (),
    way: str = "",
) -> bool:
    """Value and gradients of a problem, in a lowering; second order in those that are chosen.

    ``outputs`` are folded together, of each axis, where a fold would choose; a pool goes the
    ``way`` that it is named.
    """
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
    with _blocks(outputs), _forced(lowering, way):
        found = derivatives(
            lambda *a: op(**dict(zip(names, a, strict=True)), **options), dy, x, v, second
        )
    expected = [f.value(*x), *f.pullback(dy, *x)]
    if second:
        expected += [f.tangent(v, *x), *f.curvature(dy, v, *x)]
    return all_near(found, expected, rtol=0, atol=CLOSE)


def sizes_left_open(ops: Any, problem: Call) -> bool:
    """Value and gradients, from a program that knows of the first argument the channels alone."""
    names, shapes, _ = zip(*problem.arrays, strict=True)
    options = dict(problem.statics)
    f = formula(problem.op, shapes, options)
    generator = np.random.default_rng(3)
    x = [f.multiple * generator.integers(-3, 4, shape) for shape in shapes]

    def value(*x: jax.Array) -> jax.Array:
        return getattr(ops, problem.op)(**dict(zip(names, x, strict=True)), **options)

    def run(*x: jax.Array) -> list[jax.Array]:
        y, pull = jax.vjp(value, *x)
        return [y, *pull(jnp.full_like(y, f.multiple))]

    *letters, _ = "bhw_"[: len(shapes[0])]
    # What JAX cannot conclude by itself: that every window fits.
    scope = export.SymbolicScope([f"{n} >= 7" for n in letters[1:]])
    open_shape = export.symbolic_shape(f"{', '.join(letters)}, {shapes[0][-1]}", scope=scope)
    specs = [jax.ShapeDtypeStruct(a, jnp.float64) for a in (open_shape, *shapes[1:])]
    found = export.export(jax.jit(run))(*specs).call(*(a.astype(float) for a in x))
    y = f.value(*x)
    expected = [y, *f.pullback(np.full(y.shape, f.multiple), *x)]
    return all_near([np.asarray(a) for a in found], expected, rtol=0, atol=CLOSE)


def under_vmap(ops: Any, problem: Call) -> bool:
    """Value and gradients of mapped examples, whichever arguments they have of their own."""
    for mapped in MAPPED.values():
        examples = Examples(problem, mapped)
        arrays = [np.asarray(a, np.float64) for a in (*examples.arrays, examples.dy)]
        found = results(partial(examples.run, ops), *arrays)
        if not all_near(found, examples.expected(), rtol=0, atol=CLOSE):
            return False
    return True


def without_jit(ops: Any) -> bool:
    """A product where nothing is compiled, as who looks for a mistake may have it."""
    x, w = np.arange(12.0).reshape(3, 4), np.arange(20.0).reshape(4, 5)
    with jax.disable_jit():
        return np.array_equal(ops.dense(jnp.asarray(x), jnp.asarray(w)), x @ w)


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
    return all_near(found, _EXPECTED[case.id, at_zero], rtol=1e-9, atol=1e-11)


_EXPECTED: dict[tuple[str, bool], Derivatives] = {}


def sums_in_float32(ops: Any) -> bool:
    """A sum of halves is rounded once: of 1 and eight parts that one by one would be lost."""
    x = jnp.full((1, 9, 1), 2.0**-9, jnp.bfloat16).at[0, 0].set(1)
    summed, pooled = ops.correlate(x, jnp.ones((9, 1, 1), x.dtype)), ops.average_pool(x, 9)
    found = [a.item() for a in (summed, 9 * pooled) if a.dtype == jnp.bfloat16]
    return found == [1 + 2.0**-6] * 2


def pools_directly(ops: Any, g: Geometry, way: str = "") -> bool:
    """The pools' lowerings on what operations don't ask of them: dilation, winners of all kinds."""
    lowering = sys.modules["jcnn.lowering"]
    generator = np.random.default_rng(2)
    x, dy = (generator.integers(-3, 4, (2, *n, 3)).astype(float) for n in (g.size, g.output))
    winner = generator.integers(0, g.taps + 1, dy.shape).astype(np.uint8)
    winner[winner == g.taps] = loops.none(g)

    def run(x: jax.Array, dy: jax.Array, winner: jax.Array) -> list[jax.Array]:
        return [
            *lowering.max_pool(g, x), *lowering.max_pool(g, x, 1.0),
            lowering.gather(g, x, winner), lowering.scatter(g, dy, winner),
            lowering.window_sum(g, x), lowering.window_spread(g, dy),
        ]  # fmt: skip

    expected = [
        *loops.max_pool(g, x), *loops.max_pool(g, x, 1.0),
        loops.gather(g, x, winner), loops.scatter(g, dy, winner),
        loops.window_sum(g, x), loops.window_spread(g, dy),
    ]  # fmt: skip
    with _forced(None, way):
        return all_near(results(run, x, dy, winner), expected, rtol=0, atol=0)


def as_on_tpus(ops: Any, answer: Callable[[Any], bool]) -> bool:
    """The answer of a check whose operations are traced for a TPU, where they run on a CPU."""
    from jcnn.lowering.xla_pools import traced_for  # that of the mutant

    with traced_for("tpu"):
        return answer(ops)


def nan_in_a_large_window(ops: Any) -> bool:
    """Of so many elements XLA's own maximum on a CPU loses NaN."""
    x = np.zeros((2, 64, 64, 32), np.float32)
    x[1, 7, 0, 2] = np.nan
    with _forced(None, "doubling"):
        y = jax.jit(lambda x: ops.max_pool(x, 32))(x)
    return np.argwhere(np.isnan(y)).tolist() == [[1, 0, 0, 2]]


def winners_fit(ops: Any) -> bool:
    """Every index of a window and "none" are different numbers of the winners' type."""
    pools = _lowering("pools")
    windows = {1: "uint8", 254: "uint8", 255: "uint16", 65534: "uint16", 65535: "uint32"}
    one = (1,)
    found = {n: pools.winner_dtype(Geometry((n,), (n,), one, ((0, 0),), one)).name for n in windows}
    return found == windows


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

    return results(run, *free)


def results(run: Callable[..., list[jax.Array]], *arrays: np.ndarray) -> list[np.ndarray]:
    lowered = jax.jit(run).lower(*arrays)
    paddings = re.findall(r"stablehlo\.convolution.* pad = (\[\[.*?\]\])", lowered.as_text())
    if any("-" in padding for padding in paddings):
        raise NegativePaddingError
    return [np.asarray(a) for a in lowered.compile(compiler_options=_unoptimized())(*arrays)]


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


def all_near(found: Derivatives, expected: Derivatives, rtol: float, atol: float) -> bool:
    return all(
        a.shape == e.shape and np.allclose(a, e, rtol, atol)
        for a, e in zip(found, expected, strict=True)
    )


def _forced(lowering: str | None, way: str) -> Any:
    return sys.modules["jcnn.lowering"].forced(lowering, **POOL_WAYS.get(way, {}))


@contextmanager
def _blocks(outputs: tuple[int, ...]) -> Iterator[None]:
    """Small blocks of images, and any number of outputs folded."""
    lowering = sys.modules["jcnn.lowering"]
    small = replace(lowering.this_machine(), cache_bytes=CACHE_BYTES)
    with ExitStack() as stack:
        stack.enter_context(lowering.on_machine(small))
        if outputs:
            fold = _lowering("fold")
            patch = mock.patch.object(fold, "outputs_a_block", return_value=outputs)
            stack.enter_context(patch)
        yield


def _lowering(name: str) -> ModuleType:
    """A module of the lowerings that are loaded now."""
    return sys.modules[f"jcnn.lowering.{name}"]
