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


W = np.ones((2, 2, 3, 4), np.float32)
TRACED_STATICS = {
    "window": ("max_pool: window must be an integer", lambda a: ops.max_pool(X, a), 2),
    "pair": ("max_pool: window must be an integer", lambda a: ops.max_pool(X, (a, 2)), 2),
    "array": ("max_pool: window must be an integer or a sequence of them",
              lambda a: ops.max_pool(X, a), np.array([2, 2])),
    "strides": ("correlate: strides must be an integer", lambda a: ops.correlate(X, W, strides=a),
                2),
    "groups": ("correlate: groups must be an integer", lambda a: ops.correlate(X, W, groups=a), 1),
    "padding": ("convolve: padding must be an integer", lambda a: ops.convolve(X, W, padding=a), 1),
    "pairs": ("pad: padding must be an integer, or one pair", lambda a: ops.pad(X, a),
              np.array([[1, 1], [0, 1]])),
    "size": ("local_response_norm: size must be an integer",
             lambda a: ops.local_response_norm(X, size=a), 3),
    "axis": ("softmax_cross_entropy: axis must be an integer",
             lambda a: ops.softmax_cross_entropy(X, X, axis=a), 1),
    "ceil_mode": ("square_pool: ceil_mode must be True or False",
                  lambda a: ops.square_pool(X, 2, ceil_mode=a), True),
    "count_include_pad": ("average_pool: count_include_pad must be True or False",
                          lambda a: ops.average_pool(X, 2, count_include_pad=a), True),
}  # fmt: skip


@pytest.mark.parametrize("name", TRACED_STATICS)
def test_a_traced_integer_or_switch_is_named(name):
    sentence, call, value = TRACED_STATICS[name]
    with pytest.raises(TypeError) as error:
        jax.jit(call)(value)
    assert str(error.value).startswith(sentence)
    assert "when the operation is traced, found the traced" in str(error.value)
    jax.eval_shape(lambda: call(value))
    jax.eval_shape(lambda: call(np.asarray(value)))
    there = jnp.asarray(value)
    jax.eval_shape(lambda: call(there))


def test_a_switch_is_true_or_false():
    with pytest.raises(TypeError, match=r"^max_pool: ceil_mode must be True or False, found 'no'$"):
        ops.max_pool(X, 2, ceil_mode="no")


@pytest.mark.parametrize("a", ["ab", [[1.0], [2.0, 3.0]], {"w": X}, object(), 2**70, None],
                         ids=["text", "ragged", "tree", "object", "too-large", "none"])  # fmt: skip
def test_what_is_no_array_is_named(a):
    with pytest.raises(TypeError, match=r"^relu: x must be an array, found (a \w+|None)$"):
        ops.relu(a)
    with pytest.raises(TypeError, match=r"^dense: w must be an array, found"):
        ops.dense(X, a)


def test_what_is_no_random_key_is_named():
    for key, found in ((0, "0"), (None, "None"), (X, r"float32\[2, 5, 6, 3\]")):
        with pytest.raises(TypeError, match=f"^dropout: key must be a random key, .* {found}$"):
            ops.dropout(X, key, 0.5)
    for keys in (jax.random.split(KEY, 3), jax.random.split(jax.random.PRNGKey(0), 3)):
        with pytest.raises(ValueError, match=r"^dropout: key must be one random key, found .*3,"):
            ops.dropout(X, keys, 0.5)
        mapped = jax.vmap(lambda key: ops.dropout(X, key, 0.5))
        assert jax.eval_shape(mapped, keys).shape == (3, *X.shape)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_numbers_of_python_take_the_dtype_of_what_they_meet(dtype):
    x = jnp.asarray(X, dtype)
    for namespace in (ops, reference):
        y, pull = jax.vjp(namespace.prelu, x, 0.25)
        assert y.dtype == x.dtype
        assert [g.dtype for g in pull(y)] == [x.dtype, jnp.float32]


def test_steps_of_a_python_number_are_as_weak_as_it_is():
    for op in (ops.unit_step, ops.signum, reference.unit_step):
        assert (op(2.0) * jnp.ones(2, jnp.bfloat16)).dtype == jnp.bfloat16
