"""What nobody thought of, drawn: operations, shapes of every degenerate size, dtypes, options and
transformations, held against loops in float64.

Three hundred cases where every test runs; any number with ``pytest tests/ops/test_drawn.py
--drawn 5000``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jcnn import ops
from tests.cases import Case, Draw, distribution, labels, normal, uniform
from tests.ops import loops, loops_by_element
from tests.ops.pullbacks import assert_close, cotangents, differentiable, pullback
from tests.tolerances import tolerance

pytestmark = pytest.mark.usefixtures("mathematics")

DTYPES = (jnp.float64, jnp.float32, jnp.bfloat16, jnp.float16)
# Gradient always: compiled alone, one for each of two examples, or summed over two examples.
WAYS = ("jit", "vmap of grad", "grad of vmap")
CORRELATIONS = ("correlate", "convolve", "convolve_transpose")
POOLS = ("max_pool", "relu_max_pool", "average_pool", "square_pool")
WHOLE = ("global_max_pool", "global_average_pool", "decimate", "pad")
ELEMENTWISE = (
    "relu", "leaky_relu", "prelu", "sigmoid", "tanh", "scaled_tanh", "gelu", "softmax",
    "unit_step", "signum", "dropout",
)  # fmt: skip
OTHERS = (
    "dense", "batch_norm", "batch_norm_inference", "local_response_norm", "mean_squared_error",
    "binary_cross_entropy", "softmax_cross_entropy",
)  # fmt: skip
FEW, SOME = st.integers(0, 3), st.integers(1, 3)


@dataclass(frozen=True)
class Drawn:
    """A case, the dtype of its arrays, a transformation, and which arguments are mapped by it."""

    case: Case
    dtype: Any
    way: str
    mapped: tuple[bool, ...] = field(default=())


def per_axis(draw: Any, rank: int, numbers: Any) -> Any:
    """One number, or one for each axis."""
    return draw(st.one_of(numbers, st.tuples(*[numbers] * rank)))


def windows(draw: Any, rank: int) -> tuple[int, ...]:
    return draw(st.tuples(*[st.integers(1, 4 - rank // 2)] * rank))


def correlation(draw: Any, op: str) -> Case:
    """Any size, with padding beyond the window too, if an output is left."""
    rank, groups = draw(SOME), draw(SOME)
    window, size = windows(draw, rank), draw(st.tuples(*[st.integers(0, 6 - rank)] * rank))
    strides, dilation = per_axis(draw, rank, SOME), per_axis(draw, rank, SOME)
    s, r = loops.per_axis(strides, rank), loops.per_axis(dilation, rank)
    span = [b * (k - 1) + 1 for k, b in zip(window, r, strict=True)]
    pairs = st.tuples(*[st.tuples(*[st.integers(0, k + 2)] * 2) for k in span])
    padding = draw(st.one_of(st.sampled_from(["VALID", "SAME", "FULL"]), FEW, pairs))
    transposed = op == "convolve_transpose"
    for n, step, k, (lo, hi) in zip(
        size, s, span, loops.edges(padding, size, span, s), strict=True
    ):
        assume(step * (n - 1) + k - lo - hi > 0 if transposed else n + lo + hi >= k)
        assume(n > 0 or not (transposed or padding == "SAME"))
    n, c, d = (draw(FEW) for _ in range(3))
    arrays = normal(n, *size, groups * c), normal(*window, c, groups * d)
    if draw(st.booleans()):
        arrays += (normal(groups * d),)
    options = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    return Case(op, "drawn", arrays, options)


def pool(draw: Any, op: str) -> Case:
    rank = draw(SOME)
    window = windows(draw, rank)
    size = tuple(k + draw(st.integers(0, 4)) for k in window)
    pairs = [st.tuples(*[st.integers(0, k - 1)] * 2) for k in window]
    padding = st.one_of(st.sampled_from(["VALID", "SAME", "FULL"]), st.tuples(*pairs))
    options = {"padding": draw(padding), "strides": per_axis(draw, rank, SOME)}
    return Case(op, "drawn", (normal(draw(FEW), *size, draw(FEW)),), options, (window,))


def whole(draw: Any, op: str) -> Case:
    rank = draw(SOME)
    size = draw(st.tuples(*[st.integers(int(op != "decimate"), 4)] * rank))
    options: dict[str, Any] = {}
    if op == "decimate":
        options["factor"] = per_axis(draw, rank, SOME)
    if op == "pad":  # and cropped, if something is left
        options["mode"] = draw(st.sampled_from(["ZEROS", "CIRCULAR", "REFLECT", "REPLICATE"]))
        least = [min(0, (1 - n) // 2) if options["mode"] == "ZEROS" else 0 for n in size]
        pairs = [st.tuples(*[st.integers(low, 5)] * 2) for low in least]
        options["padding"] = draw(st.tuples(*pairs))
    return Case(op, "drawn", (normal(draw(FEW), *size, draw(FEW)),), options)


def elementwise(draw: Any, op: str) -> Case:
    shape = tuple(draw(st.lists(FEW, min_size=1, max_size=4)))
    match op:
        case "prelu":
            return Case(op, "drawn", (normal(*shape), normal(*shape[-1:] * draw(st.booleans()))))
        case "dropout":
            arrays = normal(*shape), lambda _: jax.random.key(7)
            return Case(op, "drawn", arrays, {"drop_rate": draw(st.sampled_from([0.0, 0.1, 0.75]))})
    return Case(op, "drawn", (normal(*shape),))


def other(draw: Any, op: str) -> Case:
    n, c, d = (draw(FEW) for _ in range(3))
    shape = (n, *draw(st.lists(FEW, max_size=2)), c)
    channels = [normal(c)] * 3
    match op:
        case "dense":
            return Case(op, "drawn", (normal(*shape), normal(c, d), normal(d))[: 2 + n % 2])
        case "batch_norm":  # two values close to each other have a slope that rounding drowns in
            return Case(op, "drawn", (normal(*shape), *channels[:2]), {"epsilon": 0.1})
        case "batch_norm_inference":
            return Case(op, "drawn", (normal(*shape), *channels, uniform(c)))
        case "local_response_norm":
            options = {"size": draw(st.integers(1, 5)), "scale": 0.5, "power": 0.75}
            return Case(op, "drawn", (normal(*shape),), options)
        case "softmax_cross_entropy":
            return cross_entropy(draw, op)
    return Case(op, "drawn", (normal(*shape), uniform(*shape)))


def cross_entropy(draw: Any, op: str) -> Case:
    examples, k = draw(st.lists(FEW, max_size=2)), draw(st.integers(1, 4))
    place = draw(st.integers(0, len(examples)))
    shape = (*examples[:place], k, *examples[place:])
    kind = draw(st.sampled_from(["distributions", "int32", "uint8"]))
    if kind == "distributions":
        y: Draw = lambda g: np.moveaxis(distribution(*examples, k)(g), -1, place)  # noqa: E731
    else:
        y = labels(*examples, classes=k, dtype=kind)
    options: dict[str, Any] = {"axis": place - draw(st.sampled_from([0, len(shape)]))}
    options["label_smoothing"] = draw(st.sampled_from([0.0, 0.1, 1.0]))
    if draw(st.booleans()):
        count = np.random.default_rng(0).uniform(size=examples) < 0.5
        options["where"] = count
    return Case(op, "drawn", (normal(*shape), y), options)


FAMILIES = {correlation: CORRELATIONS, pool: POOLS, whole: WHOLE, elementwise: ELEMENTWISE,
            other: OTHERS}  # fmt: skip


@st.composite
def drawn_cases(draw: Any) -> Drawn:
    """The correlations and pools twice as often, and all others evenly."""
    ops_of = [(f, op) for f, names in FAMILIES.items() for op in names]
    family, op = draw(
        st.sampled_from([*ops_of, *(pair for pair in ops_of if pair[0] in (correlation, pool))])
    )
    case, way = family(draw, op), draw(st.sampled_from(WAYS))
    mapped = tuple(draw(st.booleans()) for _ in case.draws)
    return Drawn(case, draw(st.sampled_from(DTYPES)), way, mapped)


def check(drawn: Drawn) -> None:
    with jax.enable_x64(drawn.dtype == jnp.float64):
        (check_alone if drawn.way == "jit" else check_mapped)(drawn)


def looped(case: Case, dy: Any, args: list[Any], y: Any) -> Any:
    """What the loops give in float64; a dropped element is read off the result."""
    dy, *args = jax.tree.map(_wide, (dy, *args))
    if case.op == "dropout":
        args[1] = np.asarray(y) != 0
    function = getattr(loops, case.op, None) or getattr(loops_by_element, case.op)
    return function(dy, *args, *case.positional, **case.options)


def _wide(a: Any) -> Any:
    return np.asarray(a, np.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a


def check_alone(drawn: Drawn) -> None:
    case, args = drawn.case, drawn.case.arguments(drawn.dtype)
    dy = cotangents(case.function(ops), args)
    found = jax.jit(pullback(case.function(ops)))(dy, *args)
    assert_close(found, looped(case, dy, args, found[0]), **tolerance(drawn.dtype))


def check_mapped(drawn: Drawn) -> None:
    """Two examples; of arguments that are not mapped both have the same."""
    case, function = drawn.case, drawn.case.function(ops)
    args = case.arguments(drawn.dtype)
    free = differentiable(args)
    mapped = [i in free and (i == 0 or drawn.mapped[i]) for i in range(len(args))]
    both = [[a, 1 - a if m else a] for a, m in zip(args, mapped, strict=True)]
    dys = [cotangents(function, args, seed) for seed in (1, 2)]
    axes = tuple(0 if m else None for m in mapped)
    stacked = [np.stack(pair) if m else pair[0] for pair, m in zip(both, mapped, strict=True)]
    dy = jax.tree.map(lambda *pair: np.stack(pair), *dys)
    summed = drawn.way == "grad of vmap"
    one = pullback(jax.vmap(function, axes)) if summed else jax.vmap(pullback(function), (0, *axes))
    y, gradients = jax.jit(one)(dy, *stacked)
    examples = [
        looped(case, dys[i], [pair[i] for pair in both], jax.tree.map(lambda a, i=i: a[i], y))
        for i in (0, 1)
    ]
    values, slopes = zip(*examples, strict=True)
    expected = jax.tree.map(lambda *pair: np.stack(pair), *values)
    each = [
        sum(pair) if summed and not mapped[place] else np.stack(pair)
        for place, *pair in zip(free, *slopes, strict=True)
    ]
    assert_close((y, gradients), (expected, each), **tolerance(drawn.dtype))


@pytest.fixture
def quickly_compiled():
    """With few optimisations: programs are small, many, and run once."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.mark.parametrize(
    "examples",
    [
        20,
        pytest.param(100, marks=pytest.mark.slow),
        pytest.param(300, marks=(pytest.mark.slow, pytest.mark.thorough)),
    ],
)
def test_of_any_operation_on_anything(examples, request, quickly_compiled):
    """The same cases on every machine."""
    many = max(examples, request.config.getoption("--drawn") if examples == 300 else 0)
    drawn = settings(max_examples=many, deadline=None, derandomize=True, database=None)
    drawn(given(drawn_cases())(check))()


def test_every_operation_may_be_drawn():
    assert {op for names in FAMILIES.values() for op in names} == set(ops.__all__)
