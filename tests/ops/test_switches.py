"""JAX's switches for debugging, and options of other types than Python's numbers."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import lowering, ops, reference
from tests.cases import representative
from tests.ops.pullbacks import cotangents, pullback
from tests.selection import slow_unless

pytestmark = pytest.mark.usefixtures("mathematics")

FIRST = {case.op: case for case in reversed(representative())}
X = np.random.default_rng(0).standard_normal((2, 5, 6, 3)).astype(np.float32)
PADDED = {"padding": "SAME", "strides": 2}
KEY = jax.random.key(0)


@pytest.fixture
def debugging():
    """JAX looks at what every operation gives, one at a time."""
    with jax.debug_nans(True), jax.debug_infs(True):
        yield


@pytest.mark.usefixtures("debugging")
@pytest.mark.parametrize(
    "op", slow_unless({"average_pool", "softmax_cross_entropy"}.__contains__, sorted(FIRST))
)
def test_clean_data_is_not_accused(op):
    function, args = FIRST[op].function(ops), FIRST[op].arguments(np.float32)
    pullback(function)(cotangents(function, args), *args)


@pytest.mark.usefixtures("debugging")
@pytest.mark.parametrize("op", [ops.max_pool, ops.relu_max_pool])
def test_what_a_max_pool_holds_inside_is_not_accused(op):
    """Not the −inf of its padding, and not the NaN that it has ready."""
    pool = partial(op, window=3, **PADDED)
    y, pull = jax.vjp(pool, X)
    (dx,) = pull(y)
    assert jnp.isfinite(dx).all()


@pytest.mark.parametrize("compiled", [False, True], ids=["one-by-one", "compiled"])
def test_a_nan_is_accused_where_it_arose(compiled):
    function = lambda x: ops.max_pool(ops.relu(jnp.log(x)), 3)  # noqa: E731
    with jax.debug_nans(True), pytest.raises(FloatingPointError, match=r"\blog\b"):
        (jax.jit(function) if compiled else function)(X)


@pytest.mark.usefixtures("debugging")
def test_masked_classes_and_examples_give_no_nan():
    """Compiled, so that only what comes out is looked at: −inf went in."""
    logits = np.where(X > 1, np.float32(-np.inf), X)
    loss = partial(ops.softmax_cross_entropy, label_smoothing=0.1, where=X[..., 0] <= 1)
    total = jax.jit(jax.grad(lambda a: loss(a, np.zeros(X.shape[:-1], np.int32)).sum()))
    assert jnp.isfinite(total(logits)).all()


@pytest.mark.parametrize("namespace", [ops, reference], ids=["ops", "reference"])
def test_no_rank_is_promoted(namespace):
    with jax.numpy_rank_promotion("raise"):
        for case in representative():
            function, args = case.function(namespace), case.arguments(np.float32)
            # Lowered, since what runs a correlation is traced no sooner.
            jax.jit(pullback(function)).lower(cotangents(function, args), *args)


SUMMED = {"strides": {"strides": 2}, "groups": {"groups": 3}, "plain": {}}


@pytest.mark.parametrize("options", SUMMED.values(), ids=SUMMED)
def test_no_rank_is_promoted_by_sums_over_the_window(options):
    function = partial(ops.correlate, padding="SAME", **options)
    w = np.ones((3, 3, 3 // options.get("groups", 1), 6), np.float32)
    with jax.numpy_rank_promotion("raise"), lowering.forced("direct"):
        y, pull = jax.vjp(function, X, w)
        pull(y)


@pytest.mark.parametrize("op", sorted(FIRST))
def test_one_by_one_without_compiling_gives_the_same(op):
    function, args = FIRST[op].function(ops), FIRST[op].arguments(np.float32)
    given = cotangents(function, args)
    expected = jax.jit(pullback(function))(given, *args)
    with jax.disable_jit():
        found = pullback(function)(given, *args)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


TRACED = {
    "leaky_relu": ("slope", lambda a: ops.leaky_relu(X, a)),
    "scaled_tanh": ("rate", lambda a: ops.scaled_tanh(X, rate=a)),
    "dropout": ("drop_rate", lambda a: ops.dropout(X, KEY, a)),
    "batch_norm": ("epsilon", lambda a: ops.batch_norm(X, X[0, 0, 0], X[0, 0, 0], epsilon=a)),
    "batch_norm_inference": (
        "epsilon",
        lambda a: ops.batch_norm_inference(X, *[X[0, 0, 0]] * 4, epsilon=a),
    ),
    "local_response_norm": ("power", lambda a: ops.local_response_norm(X, power=a)),
    "softmax_cross_entropy": (
        "label_smoothing",
        lambda a: ops.softmax_cross_entropy(X, X, label_smoothing=a),
    ),
}


@pytest.mark.parametrize("op", TRACED)
def test_a_traced_option_is_named(op):
    name, call = TRACED[op]
    with pytest.raises(TypeError, match=rf"^{op}: {name} must be a number when the operation"):
        jax.jit(call)(0.1)
    with pytest.raises(TypeError, match=rf"^{op}: {name} must be a number, found '0.1'"):
        call("0.1")


@pytest.mark.parametrize("op", TRACED)
def test_numbers_of_numpy_and_of_jax_are_numbers(op):
    _, call = TRACED[op]
    for number in (np.float32(0.1), np.array(0.1), jnp.array(0.1)):
        jax.eval_shape(lambda number=number: call(number))


def test_a_traced_window_is_named():
    with pytest.raises(TypeError, match="max_pool: window must be an integer, found"):
        jax.jit(lambda k: ops.max_pool(X, k))(2)
