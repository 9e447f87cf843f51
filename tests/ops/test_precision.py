"""float32 and bfloat16 against float64, on inputs that are the same numbers in both."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import ops
from tests.cases import CASES, representative
from tests.ops.pullbacks import assert_close, cotangents, pullback
from tests.selection import slow_unless
from tests.tolerances import TOLERANCES, tolerance

pytestmark = pytest.mark.usefixtures("x64")

FIRST = {case.op: case for case in reversed(representative()) if case.op != "dropout"}
KINDS = {"average_pool", "batch_norm", "convolve", "relu_max_pool", "softmax_cross_entropy", "tanh"}
LONG = {"2d-five-by-five-many", "2d-many-channels", "2d-one-channel", "2d-depthwise", "3d-valid"}
LONG_SUMS = [c for c in CASES if c.op in ("correlate", "convolve_transpose") and c.name in LONG]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_values_and_gradients_keep_the_dtype(dtype):
    for case in representative():
        function, args = case.function(ops), case.arguments(dtype)
        found = jax.eval_shape(pullback(function), cotangents(function, args), *args)
        assert {a.dtype for a in jax.tree.leaves(found)} == {jnp.dtype(dtype)}, case.id


@pytest.mark.parametrize(
    "case", slow_unless(lambda case: case.op in KINDS, FIRST.values(), lambda case: case.id)
)
def test_low_precision_agrees_with_float64(case):
    function = case.function(ops)
    pulled = jax.jit(pullback(function))
    for dtype in (jnp.float32, jnp.bfloat16):
        args = case.arguments(dtype)
        dy = cotangents(function, args)
        found = pulled(dy, *args)
        expected = pulled(*jax.tree.map(_double, (dy, *args)))
        assert_close(found, expected, **tolerance(dtype))


def _double(a):
    return a.astype(np.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a


@pytest.mark.parametrize(
    "case", slow_unless(lambda case: case.op == "correlate", LONG_SUMS, lambda case: case.id)
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
    assert set(TOLERANCES) == {"float64", "float32", "bfloat16"}
    for rtol, atol in TOLERANCES.values():
        assert isinstance(rtol, float)
        assert isinstance(atol, float)
