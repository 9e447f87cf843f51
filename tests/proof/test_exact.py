"""Sums, products and selections in the compiled default program: equal to whole-number loops."""

import json
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import lowering, ops
from jcnn.lowering import Geometry, depthwise, forced, on_machine, this_machine
from jcnn.lowering.algorithms import POOL_ALGORITHMS, applicable, is_native
from jcnn.lowering.problem import CORRELATIONS as OPERATIONS
from jcnn.proof import Call, TooLargeError, check_exact
from jcnn.proof.oracle import OPERATIONS as PROVED
from jcnn.proof.whole_numbers import DIVIDED, SELECTIONS
from tests.proof.problems import (
    CORRELATIONS,
    DOUBLES,
    FORCED,
    HALVES,
    OTHERS,
    POOL_WAYS,
    TRANSPOSED,
    call,
    pools,
)
from tests.selection import slow_unless

POOLS = ("max_pool", "relu_max_pool", "average_pool", "square_pool")
# One program and the second order everywhere; transformed programs where lowerings differ most.
PLAIN = ("jit", "second order")
TRANSFORMED = {
    "mnist-first", "residual-64", "depthwise", "padding-before-the-window", "zip-code-second",
    "upsampling", "mnist", "overlapping", "dense-axes", "dropout-0.5", "global-max",
}  # fmt: skip
THOROUGH = (pytest.mark.slow, pytest.mark.thorough)
# What differs most; the others are slow.
QUICK = (TRANSFORMED - {"mnist-first", "depthwise", "upsampling", "residual-64"}) | {
    "bottleneck", "depthwise-strided", "dilated", "same", "depthwise-large", "groups-of-few",
    "tdnn", "stride-over-window", "cut-beyond-the-window",
}  # fmt: skip
# The pools that are others of a square or a ReLU run in the same lowerings.
ALSO = ("mnist", "overlapping-padded", "unequal", "large-overlapping", "volume")
QUICK_POOLS = {
    ("max_pool", "mnist"), ("max_pool", "overlapping"), ("max_pool", "over-254-elements"),
    ("max_pool", "large-overlapping"), ("relu_max_pool", "unequal"), ("square_pool", "volume"),
    ("average_pool", "overlapping-padded"), ("average_pool", "large-apart"),
}  # fmt: skip


def assert_exact(problem, name="", **options):
    options.setdefault("programs", None if name in TRANSFORMED else PLAIN)
    rows = check_exact(problem, **options)
    wrong = [row for row in rows if not row.passed]
    assert not wrong, wrong[0]
    assert {row.tensor for row in rows} >= {"y", "dx"}
    return rows


@pytest.mark.parametrize("name", slow_unless(QUICK.__contains__, CORRELATIONS))
def test_correlations_and_convolutions(name):
    assert_exact(CORRELATIONS[name], name)


@pytest.mark.parametrize("name", slow_unless(QUICK.__contains__, TRANSPOSED))
def test_transposed_convolutions(name):
    assert_exact(TRANSPOSED[name], name)


@pytest.mark.parametrize(
    ("op", "name"),
    [
        pytest.param(op, name, marks=() if (op, name) in QUICK_POOLS else THOROUGH)
        for op in POOLS
        for name in pools(op)
        if op in ("max_pool", "average_pool") or name in ALSO
    ],
)
def test_pools(op, name):
    assert_exact(pools(op)[name], name)


@pytest.mark.parametrize("name", OTHERS)
def test_other_operations(name):
    assert_exact(OTHERS[name], name)


@pytest.mark.parametrize("name", slow_unless(lambda name: "bfloat16" in name, HALVES))
def test_half_precision_is_the_right_number_rounded_once(name):
    rows = assert_exact(HALVES[name], programs=("jit",))
    assert {row.chance for row in rows} == {None}


@pytest.mark.parametrize("name", DOUBLES)
def test_double_precision(name):
    assert_exact(DOUBLES[name])


def test_what_is_proved_is_every_operation_of_sums_products_and_selections():
    assert set(ops.__all__) - PROVED == {
        "batch_norm", "batch_norm_inference", "binary_cross_entropy", "gelu",
        "leaky_relu", "local_response_norm", "mean_squared_error", "prelu", "scaled_tanh",
        "sigmoid", "signum", "softmax", "softmax_cross_entropy", "tanh", "unit_step",
    }  # fmt: skip


# --- every lowering -------------------------------------------------------------------------------


def geometry(problem):
    from jcnn.geometry import place

    (_, x, _), (_, w, _) = problem.arrays
    given = {"strides": 1, "padding": "VALID", **dict(problem.statics)}
    return place(x[1:-1], w[:-2], given.pop("strides"), **given)


LOWERINGS = [
    (name, lowering)
    for name, problem in FORCED.items()
    for lowering in dict.fromkeys(
        name for op in OPERATIONS for name in applicable(op, geometry(problem))
    )
]


FIRST = {lowering: (name, lowering) for name, lowering in reversed(LOWERINGS)}
FIRST["direct"] = ("groups", "direct")


@pytest.mark.parametrize(
    ("name", "lowering"),
    [
        pytest.param(*pair, id="-".join(pair), marks=() if pair in quick else THOROUGH)
        for quick in [set(FIRST.values())]
        for pair in LOWERINGS
    ],
)
def test_every_lowering_that_can_serve(name, lowering):
    """Blocks of a few images, and a remainder, even at this size."""
    with on_machine(replace(this_machine(), cache_bytes=200_000)), forced(lowering):
        rows = assert_exact(FORCED[name])
    assert any(lowering in row.lowering for row in rows)


POOLS_FORCED = [
    (op, name, way)
    for op in ("max_pool", "average_pool")
    for way in POOL_WAYS
    for name in ("unequal", "overlapping-padded", "stride-over-window", "one", "signal", "volume")
]


@pytest.mark.parametrize(
    ("op", "name", "way"),
    [
        pytest.param(*case, id="-".join(case), marks=() if case[1] == "unequal" else THOROUGH)
        for case in POOLS_FORCED
    ],
)
def test_every_lowering_of_a_pool(op, name, way):
    with forced(**POOL_WAYS[way]):
        assert_exact(pools(op)[name])


def test_every_lowering_of_a_pool_is_met():
    met = {(op, name) for way in POOL_WAYS.values() for op, name in way.items()}
    known = {(op, name) for op, names in POOL_ALGORITHMS.items() for name in names}
    assert met == {(op, name) for op, name in known if not is_native(name)}


def test_every_lowering_is_met():
    """None is left that no problem of this file forces."""
    g = Geometry((9, 9), (3, 3), (1, 1), ((0, 0),) * 2, (1, 1), groups=1)
    known = {name for op in OPERATIONS for name in applicable(op, g)}
    known |= {"grouped", "depthwise", "fold_winograd"}  # which serve groups, and strides, alone
    assert known == {lowering for _, lowering in LOWERINGS}


# What the choice takes for large arrays alone.
AT_SIZE = {
    "depthwise": call("correlate", (64, 32, 32, 64), (3, 3, 1, 64), groups=64, padding=1),
    "alexnet-first": call("correlate", (32, 227, 227, 3), (11, 11, 3, 96), strides=4),
}


@pytest.mark.slow
def test_every_lowering_is_met_by_default():
    """The shapes above, and these, lead the choice to all that it can make."""
    met = set()
    for problem in {**CORRELATIONS, **TRANSPOSED, **AT_SIZE}.values():
        op = getattr(ops, problem.op)
        names, shapes, _ = zip(*problem.arrays, strict=True)
        arrays = [jax.ShapeDtypeStruct(shape, "float32") for shape in shapes]

        def pulled(*arrays, op=op, names=names, problem=problem):
            def f(*a):
                return op(**dict(zip(names, a, strict=True)), **dict(problem.statics))

            y, pull = jax.vjp(f, *arrays)
            return pull(y)

        with lowering.noted() as notes:
            jax.jit(pulled).lower(*arrays)
        met |= {name for _, _, name in notes}
    everything = {lowering for _, lowering in LOWERINGS}
    assert met == everything - ({"depthwise"} if depthwise.TAPS == 0 else set())


# --- the harness itself ---------------------------------------------------------------------------

SMALL = call("correlate", (3, 6, 6, 2), (3, 3, 2, 4), padding=1)


def wrong(pullback):
    """jcnn's correlation with another gradient."""

    @jax.custom_vjp
    def correlate(x, w):
        return ops.correlate(x, w, padding=1)

    def backward(kept, dy):
        return pullback(*jax.vjp(lambda x, w: ops.correlate(x, w, padding=1), *kept)[1](dy))

    correlate.defvjp(lambda x, w: (correlate(x, w), (x, w)), backward)
    return SimpleNamespace(correlate=lambda x, w, padding: correlate(x, w))


@pytest.mark.parametrize(
    ("pullback", "tensor"),
    [
        (lambda dx, dw: (dx.at[0, 0, 0, 0].add(1), dw), "dx"),
        (lambda dx, dw: (dx, dw * 1.0001), "dw"),
        (lambda dx, dw: (dx, jnp.flip(dw, 0)), "dw"),
        (lambda dx, dw: (dx.at[1, 2, 3, 1].set(jnp.nan), dw), "dx"),
    ],
    ids=["one-element-off-by-one", "a-ten-thousandth-too-large", "flipped", "nan"],
)
def test_a_wrong_gradient_is_named_with_its_first_element(pullback, tensor):
    rows = check_exact(SMALL, ops=wrong(pullback), programs=("jit",))
    assert [row.tensor for row in rows if not row.passed] == [tensor]
    (first,) = (row.first for row in rows if not row.passed)
    assert first.found != first.expected
    assert len(first.index) == 4


def test_minimal_filtering_with_a_wrong_tap_is_seen():
    problem = call("correlate", (16, 12, 12, 32), (3, 3, 32, 32))
    left_out = SimpleNamespace(correlate=lambda x, w: ops.correlate(x, w.at[2, 2, 5].set(0)))
    with forced("winograd"):
        fine = check_exact(problem, programs=("jit",))
        wrong = check_exact(problem, ops=left_out, programs=("jit",))
    assert {(row.evidence, row.chance) for row in fine} == {("nearest", None)}
    assert all(0 < row.share < 0.1 for row in fine)
    assert not all(row.passed for row in wrong)


def test_shapes_too_large_for_exactness_are_refused():
    with pytest.raises(TooLargeError, match=r"correlate: 26,214,401 terms .* float32"):
        check_exact(call("correlate", (1024, 164, 164, 1), (5, 5, 1, 1)))


def test_the_chance_is_that_of_schwartz_and_zippel():
    row = check_exact(call("dense", (2, 3), (3, 4)), programs=("jit",), draws=3)[0]
    reach = int(np.sqrt((2**24 - 1) // (2 * 5)))
    assert row.chance == pytest.approx((2 / (2 * reach + 1)) ** 3)
    json.dumps(row.chance)


def by_rule(function, pullback):
    """A function with a gradient of its own."""
    own = jax.custom_vjp(function)
    own.defvjp(lambda x: (function(x), x), lambda x, dy: (pullback(x, dy),))
    return own


def last_of(function):
    """A pool that gives a tie to the last element of a window."""

    def turned(x):
        return function(x[:, ::-1])

    return by_rule(function, lambda x, dy: jax.vjp(turned, x)[1](dy[:, ::-1])[0])


WRONG_SELECTIONS = {
    "max_pool": (last_of(lambda x: ops.max_pool(x, 2)), (1, 2, 1), {"window": 2}),
    "relu_max_pool": (last_of(lambda x: ops.relu_max_pool(x, 2)), (1, 2, 1), {"window": 2}),
    "global_max_pool": (
        by_rule(ops.global_max_pool, lambda x, dy: jnp.where(x == x.max(), dy, 0)), (1, 3, 1), {}
    ),
    "relu": (by_rule(ops.relu, lambda x, dy: jnp.where(x >= 0, dy, 0)), (1, 1), {}),
}  # fmt: skip


@pytest.mark.parametrize("op", WRONG_SELECTIONS)
def test_a_wrong_choice_at_a_tie_is_seen_in_every_draw(op):
    wrong, shape, options = WRONG_SELECTIONS[op]
    namespace = SimpleNamespace(**{op: lambda x, **_: wrong(x)})
    for seed in range(8):
        problem = call(op, shape, **options)
        rows = check_exact(problem, ops=namespace, programs=("jit",), draws=1, seed=seed)
        assert [row.tensor for row in rows if not row.passed] == ["dx"]


def test_of_selections_and_divisions_no_chance_is_claimed():
    selected = check_exact(call("relu", (3, 4)), programs=("jit",))
    divided = check_exact(call("global_average_pool", (2, 7, 3)), programs=("jit",))
    assert {(row.shown, row.chance) for row in selected} == {(SELECTIONS, None)}
    assert {(row.shown, row.chance) for row in divided} == {(DIVIDED, None)}


RELU, HALF = call("relu", (3, 4)), call("relu", (3, 4), dtype="bfloat16")
NARROW = Call("dense", (("x", (2, 3), "float32"), ("w", (3, 4), "bfloat16")), ())


@pytest.mark.parametrize(
    ("problem", "options", "error", "sentence"),
    [
        (RELU, {"draws": 0}, ValueError, "draws must be at least 1, found 0"),
        (RELU, {"draws": 1.5}, TypeError, "draws must be an integer, found 1.5"),
        (RELU, {"seed": -1}, ValueError, "seed must be at least 0, found -1"),
        (RELU, {"programs": "jit"}, ValueError,
         "programs must be a list of jit, second order, scan, vmap, remat for arrays of float32, "
         "found 'jit'"),
        (RELU, {"programs": ("jitt",)}, ValueError, "found ('jitt',)"),
        (RELU, {"programs": ()}, ValueError, "found ()"),
        (HALF, {"programs": ("second order",)}, ValueError,
         "programs must be a list of jit, scan, vmap, remat for arrays of bfloat16, "
         "found ('second order',)"),
        (call("sigmoid", (3, 4)), {}, ValueError, "square_pool, found 'sigmoid'"),
        (call("relu", (3, 4), dtype="float8_e5m2"), {}, TypeError,
         "relu's arrays must be of one of float16, bfloat16, float32, float64, found float8_e5m2"),
        (call("relu", (3, 4), dtype="int32"), {}, TypeError, "found none"),
        (NARROW, {}, TypeError, "found bfloat16, float32"),
        (call("relu", (0, 4)), {}, ValueError, "x must have an element, found shape (0, 4)"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_what_would_show_nothing_is_refused_in_one_sentence(problem, options, error, sentence):
    with pytest.raises(error) as found:
        check_exact(problem, **options)
    assert str(found.value).startswith("check_exact: ")
    assert str(found.value).endswith(sentence)


def test_all_programs_of_a_dtype_are_run_where_none_is_named():
    assert {row.program for row in check_exact(HALF)} == {"jit", "scan", "vmap", "remat"}
