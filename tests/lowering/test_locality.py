"""Where one element of the input reaches: its own windows alone, at the highest precision."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import ops
from jcnn.proof.oracle import formula
from tests.proof.problems import call
from tests.selection import slow_unless

# By default by Winograd's algorithm, by folds of all kinds, by parts.
PROBLEMS = {
    "filtered": call("correlate", (4, 16, 16, 32), (3, 3, 32, 32), padding="SAME"),
    "folded": call("correlate", (8, 14, 12, 1), (5, 5, 1, 8)),
    "folded strides": call("convolve", (4, 15, 15, 3), (4, 4, 3, 8), strides=2, padding=1),
    "transposed": call("convolve_transpose", (4, 6, 6, 4), (3, 3, 4, 2), strides=2),
    "single": call("correlate", (1, 9, 9, 2), (3, 3, 2, 4), strides=2),
    "signal": call("correlate", (32, 60, 1), (5, 1, 8)),
}


def reached(problem, argument, index):
    """Outputs of the operation, or of its input gradient, that an element has a part in."""
    (_, x, _), (_, w, _), *_ = problem.arrays
    f = formula(problem.op, (x, w), dict(problem.statics))
    ones = np.ones(w, np.int64)
    y = np.zeros(f.value(np.zeros(x, np.int64), ones).shape, np.int64)
    one = np.zeros(x if argument == "x" else y.shape, np.int64)
    one[index] = 1
    if argument == "x":
        return f.value(one, ones) != 0
    return f.pullback(one, np.ones(x, np.int64), ones)[0] != 0


def compiled(problem, argument):
    """The operation as a function of x; or its input gradient as one of dy."""
    (_, x, _), (_, w, _), *_ = problem.arrays
    kernel = jnp.asarray(np.random.default_rng(1).uniform(0.5, 1, w), jnp.float32)

    def operation(x):
        return getattr(ops, problem.op)(x, kernel, **dict(problem.statics))

    if argument == "x":
        return jax.jit(operation), x
    like = jax.ShapeDtypeStruct(x, jnp.float32)
    return (
        jax.jit(lambda dy: jax.vjp(operation, jnp.zeros(x, jnp.float32))[1](dy)[0]),
        jax.eval_shape(operation, like).shape,
    )


@pytest.mark.parametrize("argument", ["x", "dy"])
@pytest.mark.parametrize("name", slow_unless({"filtered", "folded"}.__contains__, PROBLEMS))
def test_an_element_reaches_its_own_windows_alone_at_the_highest_precision(name, argument):
    with jax.default_matmul_precision("highest"):
        run, shape = compiled(PROBLEMS[name], argument)
        values = np.random.default_rng(0).uniform(0, 1, shape).astype("float32")
        plain = np.asarray(run(values))
        assert (plain >= 0).all()
        index = (0, *(n // 2 for n in shape[1:-1]), 0)
        here = reached(PROBLEMS[name], argument, index)
        for strange in (np.nan, np.inf, 1e30):
            disturbed = values.copy()
            disturbed[index] = strange
            found = np.asarray(run(disturbed))
            # to the last bit
            np.testing.assert_array_equal(found[~here], plain[~here])
            assert (found[here] != plain[here]).all()


@pytest.mark.parametrize("batch", [1, 8, 32])
@pytest.mark.parametrize("strides", [1, 2, 3])
def test_along_time_a_nan_reaches_no_output_before_it(batch, strides):
    """At the default precision as well: a causal convolution stays causal."""
    x = np.random.default_rng(0).normal(size=(batch, 60, 1)).astype("float32")
    x[0, 40] = np.nan
    w = np.ones((5, 1, 8), np.float32)
    y, pull = jax.vjp(lambda x: ops.correlate(x, w, strides=strides, padding=((4, 0),)), x)
    sees = np.array([s * strides - 4 <= 40 <= s * strides for s in range(y.shape[1])])
    np.testing.assert_array_equal(np.isnan(y)[0, :, 0], sees)
    assert not np.isnan(y[1:]).any()
    dy = np.ones_like(y)
    dy[0, 10] = np.nan
    (dx,) = pull(dy)
    where = np.flatnonzero(np.isnan(dx)[0, :, 0])
    np.testing.assert_array_equal(where, range(10 * strides - 4, 10 * strides + 1))
