"""float32 and half precision against float64, on inputs that are the same numbers in both."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import ops
from tests.cases import CASES, representative
from tests.ops import loops, loops_by_element
from tests.ops.pullbacks import assert_close, cotangents, pullback
from tests.selection import slow_unless
from tests.tolerances import TOLERANCES, tolerance

pytestmark = pytest.mark.usefixtures("x64", "mathematics")

FIRST = {case.op: case for case in reversed(representative()) if case.op != "dropout"}
KINDS = {"average_pool", "batch_norm", "convolve", "relu_max_pool", "softmax_cross_entropy", "tanh"}
LONG = {"2d-five-by-five-many", "2d-many-channels", "2d-one-channel", "2d-depthwise", "3d-valid"}
QUICK = "correlate-2d-many-channels"
LONG_SUMS = [c for c in CASES if c.op in ("correlate", "convolve_transpose") and c.name in LONG]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_values_and_gradients_keep_the_dtype(dtype):
    for case in representative():
        function, args = case.function(ops), case.arguments(dtype)
        y, gradients = jax.eval_shape(pullback(function), cotangents(function, args), *args)
        if case.op == "batch_norm":  # whose statistics are handed on to the running ones
            y, *statistics = y
            assert {a.dtype for a in statistics} == {jnp.dtype(np.float32)}
        assert {a.dtype for a in jax.tree.leaves((y, gradients))} == {jnp.dtype(dtype)}, case.id


HALVES = (jnp.float16, jnp.bfloat16)
# Sums of products and their bias: the correlations' own, which are rounded before it is added.
WITH_BIAS = {"correlate", "convolve", "convolve_transpose", "dense"}
# Whose gradients are formulas of the output that is kept, rounded: good to units of its last place.
FROM_THE_OUTPUT = {"sigmoid": 4, "tanh": 4, "scaled_tanh": 6, "softmax": 6}


@pytest.mark.parametrize(
    "case", slow_unless(lambda case: case.op in KINDS, FIRST.values(), lambda case: case.id)
)
def test_what_is_computed_of_halves_is_rounded_once(case):
    pulled = jax.jit(pullback(case.function(ops)))
    for dtype in HALVES:
        assert_rounded_once(case, dtype, pulled)


@pytest.mark.parametrize(
    "op",
    slow_unless(
        "average_pool".__eq__,
        ["average_pool", "batch_norm", "local_response_norm", "mean_squared_error", "scaled_tanh"],
    ),
)
def test_so_it_is_one_operation_at_a_time(op):
    assert_rounded_once(FIRST[op], jnp.bfloat16, pullback(FIRST[op].function(ops)))


def assert_rounded_once(case, dtype, pulled):
    """The loops' results in float64, but for half a unit of the last place."""
    args = case.arguments(dtype)
    if case.op in WITH_BIAS:
        args = args[:2]
    dy = cotangents(case.function(ops), args)
    looped = getattr(loops, case.op, None) or getattr(loops_by_element, case.op)
    wide = jax.tree.map(lambda a: np.asarray(_double(a)), (dy, *args))
    y, gradients = looped(*wide, *case.positional, **case.options)
    unit = float(jnp.finfo(dtype).eps) / 2
    value, found = pulled(dy, *args)
    once = {"rtol": 1.01 * unit, "atol": 0.01 * unit}
    assert_close(value, y, **once)
    units = FROM_THE_OUTPUT.get(case.op)
    assert_close(found, gradients, **({"rtol": 0, "atol": units * unit} if units else once))


def _many(*shape, value=0.0):
    return np.full(shape, value, np.float16)


MANY = 65_536  # more than float16 counts
NORMAL = (1000 + 100 * np.random.default_rng(0).standard_normal((70_000, 1))).astype(np.float16)
ONE = np.ones(1, np.float16)
# What was infinite, zero or NaN in float16: the function, its argument, and the right number.
OVERFLOWS = {
    "the sum of a window": (lambda x: ops.average_pool(x, 3), _many(1, 9, 1, value=1e4), 1e4),
    "squares": (lambda x: ops.square_pool(x, 2), _many(1, 2, 1, value=180),
                64_800),
    "squares of neighbours": (ops.local_response_norm, _many(1, 1, value=150),
                              150 / (2 + 1e-4 * 150**2) ** 0.75),
    "a mean error": (lambda x: ops.mean_squared_error(x, -x), _many(1, 9, value=120), 240**2),
    "errors": (jax.grad(lambda x: ops.mean_squared_error(x, -x / 9e3).sum().astype(float)),
               _many(1, 9, value=6e4), 2 / 9 * 6e4 * (1 + 1 / 9e3) ** 2),
    "classes": (lambda x: ops.softmax_cross_entropy(x, np.array([0])), _many(1, MANY),
                np.log(MANY)),
    "exponentials": (ops.softmax, _many(1, MANY), 1 / MANY),
    "positions": (jax.grad(lambda x: ops.global_average_pool(x).sum()), _many(1, 256, 256, 1),
                  1 / MANY),
    "outputs": (jax.grad(lambda x: ops.binary_cross_entropy(x, jnp.ones_like(x)).sum()),
                _many(1, MANY), -0.5 / MANY),
    "a channel's elements": (lambda x: ops.batch_norm(x, ONE, 0 * ONE)[0], NORMAL,
                             (NORMAL - NORMAL.mean(dtype=float)) / NORMAL.std(dtype=float)),
    "a channel's squares": (lambda x: ops.batch_norm(x, ONE, 0 * ONE)[2], NORMAL,
                            NORMAL.var(dtype=float)),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", OVERFLOWS)
def test_float16_does_not_run_out_of_numbers(name):
    function, x, expected = OVERFLOWS[name]
    for run in (function, jax.jit(function)):
        found = np.asarray(run(x), np.float64)
        assert_close(found, np.broadcast_to(expected, found.shape), rtol=1e-3, atol=6e-8)


def test_statistics_of_half_precision_are_float32():
    """Rounded to bfloat16, a mean of 8 would be off by as much as 0.016."""
    x = (8.01 + np.random.default_rng(0).standard_normal((4096, 1))).astype(jnp.bfloat16)
    one = jnp.ones(1, jnp.float32)
    for channel in (one, one.astype(jnp.bfloat16)):
        _, mean, variance = jax.jit(ops.batch_norm)(x, channel, 0 * channel)
        wide = x.astype(np.float64)
        assert_close((mean, variance), (wide.mean(0), wide.var(0)), rtol=1e-6, atol=0)
    # and are used in float32: a deviation of 2 ** -10 from a mean of 8 is lost in bfloat16
    y = ops.batch_norm_inference(x[:1], one, 0 * one, one * x[0, 0].item() - 2.0**-10, one)
    np.testing.assert_allclose(np.asarray(y, float), 2.0**-10, rtol=1e-2)


@pytest.mark.parametrize(
    "case", slow_unless(lambda case: case.op in KINDS, FIRST.values(), lambda case: case.id)
)
def test_float32_agrees_with_float64(case):
    function = case.function(ops)
    pulled = jax.jit(pullback(function))
    args = case.arguments(np.float32)
    dy = cotangents(function, args)
    found, expected = pulled(dy, *args), pulled(*jax.tree.map(_double, (dy, *args)))
    assert_close(found, expected, **tolerance(np.float32))


def _double(a):
    return a.astype(np.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a


@pytest.mark.parametrize(
    "case", slow_unless(lambda case: case.id == QUICK, LONG_SUMS, lambda case: case.id, in_ci=True)
)
def test_a_sum_in_half_precision_is_rounded_once(case):
    """Products are added in float32, however many: half a unit of the last place is lost."""
    pulled = jax.jit(pullback(case.function(ops)))
    args = case.arguments(jnp.bfloat16)[:2]
    dy = cotangents(case.function(ops), args)
    found, expected = pulled(dy, *args), pulled(*jax.tree.map(_double, (dy, *args)))
    unit = float(jnp.finfo(jnp.bfloat16).eps) / 2
    assert_close(found, expected, rtol=1.01 * unit, atol=0.1 * unit)


@pytest.mark.parametrize("size", [4, 64])
def test_a_gradient_that_is_wrong_by_a_hundredth_is_seen_at_any_size(size):
    """What a tolerance that grows with the array would let pass."""
    x = np.random.default_rng(0).standard_normal((1, size, size, 1))
    w = np.random.default_rng(1).standard_normal((3, 3, 1, 1))
    dy = cotangents(ops.correlate, (x, w))
    exact = jax.jit(pullback(ops.correlate))(dy, x, w)
    for dtype in ("float64", "float32"):
        wrong = jax.tree.map(lambda a, dtype=dtype: (1.01 * a).astype(dtype), exact)
        with pytest.raises(AssertionError, match="Not equal to tolerance"):
            assert_close(wrong, exact, **tolerance(dtype))


def test_the_table_has_a_row_for_every_dtype():
    assert set(TOLERANCES) == {"float64", "float32", "bfloat16", "float16"}
    for rtol, atol in TOLERANCES.values():
        assert isinstance(rtol, float)
        assert isinstance(atol, float)
