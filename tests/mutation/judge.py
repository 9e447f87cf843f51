"""Does anything notice that the operations are wrong? In float64, on small problems.

Whole numbers below 2^53 are exact in float64 but for minimal filtering's divisions, so a result is
right if it lies within a millionth of the oracle's. What isn't made of sums, products and
selections is held against ``jax.grad`` of the reference. Programs are compiled without XLA's
optimizations, in a fifth of a second: here the code is judged, and not the compiler.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcnn import reference
from jcnn.proof import Call
from jcnn.proof.oracle import formula
from tests.cases import CASES, Case
from tests.mutation.table import Mutant
from tests.proof.problems import FORCED, call

CLOSE = 1e-6
UNOPTIMIZED = {"xla_backend_optimization_level": 0}
BLOCK_BYTES = 4_000
POOLS = {
    "disjoint": call("max_pool", (2, 5, 4, 3), window=2),
    "overlapping": call("max_pool", (2, 7, 6, 2), window=3, strides=2, padding=((1, 0), (0, 2))),
    "apart": call("max_pool", (1, 8, 9, 2), window=2, strides=3),
    "unequal": call("max_pool", (1, 6, 7, 2), window=(3, 2), strides=(1, 2)),
    "32-channels": call("max_pool", (1, 4, 6, 32), window=2),
    "volume": call("max_pool", (1, 3, 4, 3, 2), window=2, strides=1),
    "over-254-elements": call("max_pool", (1, 17, 16, 1), window=(17, 15), strides=1),
}
_OF_FILE = {
    "lowering/direct.py": ("direct",),
    "lowering/fold.py": ("fold", "fold_xla", "fold_overlap_add"),
    "lowering/overlap_add.py": ("overlap_add", "fold_overlap_add"),
    "lowering/patches.py": ("patches", "fold"),
    "lowering/transposed.py": ("transposed",),
    "lowering/winograd.py": ("winograd",),
    "lowering/xla.py": ("xla", "fold_xla", "transposed"),
    "lowering/blocks.py": ("patches", "direct", "winograd"),
    "lowering/correlations.py": ("grouped", "xla", "fold", "winograd"),
    "lowering/geometry.py": ("xla", "patches", "fold", "winograd", "transposed"),
    "lowering/windows.py": ("patches", "overlap_add", "direct", "winograd", "fold", "xla"),
}
Check = Callable[[Any], bool]


def verdict(mutant: Mutant) -> str:
    """What a mutant ends as: "killed", "crashed" (an exception, seen by anyone), "survived"."""
    with jax.enable_x64(True):
        try:
            with mutated(mutant) as ops:
                checks = _checks(mutant)
                return "survived" if all(check(ops) for check in checks) else "killed"
        except Exception:
            return "crashed"


def unaltered() -> bool:
    """Whether the judge is content with the operations as they are."""
    import jcnn.ops

    with jax.enable_x64(True):
        files = [*_OF_FILE, "lowering/pools.py", "ops/x.py"]
        every = [check for file in files for check in _of_lowering(file)]
        return all(check(jcnn.ops) for check in [*every, *_of_rules()])


def _checks(mutant: Mutant) -> Iterator[Check]:
    if mutant.file.startswith("lowering/"):
        yield from _of_lowering(mutant.file)
        if mutant.file in ("lowering/precision.py", "lowering/blocks.py"):
            yield _half
    else:
        yield from _of_rules(mutant.file)


def _of_lowering(file: str) -> Iterator[Check]:
    if file in ("lowering/pools.py", "lowering/windows.py", "lowering/geometry.py"):
        yield from _pools()
    for lowering in _OF_FILE.get(file, ()):
        for problem in FORCED.values():
            yield lambda ops, p=problem, name=lowering: _exact(ops, p, name)


def _pools() -> Iterator[Check]:
    for op in ("max_pool", "relu_max_pool", "average_pool", "square_pool"):
        for problem in POOLS.values():
            if op in ("max_pool", "relu_max_pool") or problem.arrays[0][1][1] != 17:
                renamed = Call(op, problem.arrays, problem.statics)
                yield lambda ops, p=renamed: _exact(ops, p)


_RULES = {
    "adjoint": ("average_pool", "max_pool"),
    "bias": ("correlate", "dense"),
    "convolution": ("correlate", "convolve", "convolve_transpose"),
    "dense": ("dense",),
    "dropout": ("dropout",),
    "losses": ("mean_squared_error", "binary_cross_entropy", "softmax_cross_entropy"),
    "max_pooling": ("max_pool", "relu_max_pool", "global_max_pool"),
    "normalization": ("batch_norm", "batch_norm_inference", "local_response_norm"),
    "pooling": ("average_pool", "square_pool", "decimate", "global_average_pool"),
    "rectifiers": ("relu", "leaky_relu", "prelu"),
    "activations": ("sigmoid", "tanh", "scaled_tanh", "softmax", "unit_step", "signum"),
    "triple": ("correlate", "convolve", "convolve_transpose"),
}


def _of_rules(file: str = "") -> Iterator[Check]:
    """Whole numbers and their ties, then the cases against the reference, then kinks."""
    ops = _RULES.get(Path(file).stem) or tuple(dict.fromkeys(case.op for case in CASES))
    if file in ("", "ops/max_pooling.py", "ops/pooling.py", "ops/adjoint.py"):
        yield from _pools()
    for case in CASES:
        if case.op in ops:
            yield lambda ops, case=case: _against_reference(ops, case)
    for case in CASES:
        if case.op in ops and case.name == "matrix":
            yield lambda ops, case=case: _against_reference(ops, case, at_zero=True)
    yield from _extremes(ops)


def _extremes(ops: tuple[str, ...]) -> Iterator[Check]:
    """Logits so large that what is not written with care overflows."""
    large = np.array([[1e4, -1e4, 0.0], [800.0, 790.0, -5.0]])
    if "softmax_cross_entropy" in ops:
        yield lambda ops: _finite(lambda a: ops.softmax_cross_entropy(a, jnp.array([0, 1])), large)
        yield lambda ops: _finite(lambda a: ops.binary_cross_entropy(a, jnp.ones((2, 3))), large)
    if "softmax" in ops:
        yield lambda ops: _finite(ops.softmax, large)


def _finite(f: Callable[[Any], Any], a: np.ndarray) -> bool:
    y, pull = jax.vjp(f, jnp.asarray(a))
    both = [y, *pull(jnp.ones_like(y))]
    return all(bool(jnp.isfinite(b).all()) for b in both) and bool((jnp.abs(both[1]) <= 1).all())


def _exact(ops: Any, problem: Call, lowering: str | None = None) -> bool:
    """Value, gradients and second order of a problem in a forced lowering."""
    names, shapes, _ = zip(*problem.arrays, strict=True)
    options = dict(problem.statics)
    f = formula(problem.op, shapes, options)
    op = getattr(ops, problem.op)

    def function(*arrays: jax.Array) -> jax.Array:
        return op(**dict(zip(names, arrays, strict=True)), **options)

    generator = np.random.default_rng(0)

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        return f.multiple * generator.integers(-3, 4, shape)

    x = [draw(shape) for shape in shapes]
    dy, v = draw(f.value(*x).shape), [draw(shape) for shape in shapes]
    # The second derivatives of a correlation run through the same lowerings.
    second = lowering is None
    with _forced(lowering), _small_blocks():
        found = _derivatives(function, dy, x, v, second)
    expected = [f.value(*x), *f.pullback(dy, *x)]
    if second:
        expected += [f.tangent(v, *x), *f.curvature(dy, v, *x)]
    return all(_near(a, e) for a, e in zip(found, expected, strict=True))


def _derivatives(
    function: Callable[..., jax.Array],
    dy: np.ndarray,
    x: Sequence[Any],
    v: list[np.ndarray],
    second: bool = True,
) -> list[np.ndarray]:
    """Value, gradients, and the gradients of <gradients, v> in dy and in each argument."""
    free = [np.asarray(a, np.float64) for a in (dy, *x)]

    def along_v(dy: jax.Array, *x: jax.Array) -> jax.Array:
        gradients = jax.vjp(function, *x)[1](dy)
        return sum(jnp.vdot(a, jnp.asarray(b, a.dtype)) for a, b in zip(gradients, v, strict=True))

    def run(dy: jax.Array, *x: jax.Array) -> list[jax.Array]:
        y, pull = jax.vjp(function, *x)
        first = [y, *pull(dy)]
        return [*first, *jax.grad(along_v, tuple(range(len(free))))(dy, *x)] if second else first

    program = jax.jit(run).lower(*free).compile(compiler_options=UNOPTIMIZED)
    return [np.asarray(a) for a in program(*free)]


def _near(found: np.ndarray, expected: np.ndarray) -> bool:
    return found.shape == expected.shape and bool(np.all(np.abs(found - expected) < CLOSE))


def _against_reference(ops: Any, case: Case, at_zero: bool = False) -> bool:
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
    found = _derivatives(flat(ops), dy, free, v)
    expected = _expected(case, at_zero, lambda: _derivatives(flat(reference), dy, free, v))
    return all(
        a.shape == e.shape and np.allclose(a, e, rtol=1e-9, atol=1e-11)
        for a, e in zip(found, expected, strict=True)
    )


_KEPT: dict[Any, list[np.ndarray]] = {}


def _expected(case: Case, at_zero: bool, compute: Callable[[], Any]) -> list[np.ndarray]:
    if (case.id, at_zero) not in _KEPT:
        _KEPT[case.id, at_zero] = compute()
    return _KEPT[case.id, at_zero]


def _half(ops: Any) -> bool:
    """A sum of halves is taken in float32 and rounded once."""
    x = np.ones((1, 40, 40, 1)).astype(jnp.bfloat16)
    y = ops.average_pool(x, 40)
    return y.dtype == jnp.bfloat16 and float(y.ravel()[0]) == 1.0


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


def _forced(lowering: str | None) -> Any:
    return sys.modules["jcnn.lowering"].forced(lowering) if lowering else nullcontext()


# --- the package with one file altered ------------------------------------------------------------


@contextmanager
def mutated(mutant: Mutant) -> Iterator[Any]:
    """Give ``jcnn.ops`` loaded afresh with the alteration; the ordinary modules stay."""
    name = "jcnn." + mutant.file.removesuffix(".py").replace("/", ".")
    ordinary = {key: sys.modules.pop(key) for key in list(sys.modules) if _reloaded(key)}
    import jcnn

    attributes = {key: vars(jcnn).pop(key) for key in ("ops", "lowering") if key in vars(jcnn)}
    finder = _Finder(name, mutant.source())
    sys.meta_path.insert(0, finder)
    try:
        yield importlib.import_module("jcnn.ops")
    finally:
        sys.meta_path.remove(finder)
        for key in [key for key in sys.modules if _reloaded(key)]:
            del sys.modules[key]
        sys.modules.update(ordinary)
        vars(jcnn).update(attributes)


def _reloaded(module: str) -> bool:
    return any(
        module == part or module.startswith(f"{part}.") for part in ("jcnn.ops", "jcnn.lowering")
    )


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, name: str, source: str) -> None:
        self.name, self.source = name, source

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_loader(fullname, _Loader(self.source))


class _Loader(importlib.abc.Loader):
    def __init__(self, source: str) -> None:
        self.source = source

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.source, f"<mutant of {module.__name__}>", "exec"), vars(module))
