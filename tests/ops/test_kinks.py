"""What happens at kinks and ties, at infinities and NaN: as the docstrings state it."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import ops, reference

inf, nan = math.inf, math.nan
pytestmark = pytest.mark.usefixtures("mathematics")


def slope(function, x):
    """Value and elementwise derivative at each of the numbers ``x``."""

    @jax.jit
    def run(x):
        y, pull = jax.vjp(function, x)
        return y, pull(jnp.ones_like(y))[0]

    return tuple(map(np.asarray, run(np.asarray(x, np.float32))))


def signal(*numbers):
    return np.asarray(numbers, np.float32).reshape(1, -1, 1)


def image(*rows):
    return np.asarray(rows, np.float32)[None, ..., None]


def routed(pool, x, *window, **options):
    """Pooled values, and where 1, 2, 3, … arrive that are sent back through them in order."""

    def run(x):
        y, pull = jax.vjp(lambda x: pool(x, *window, **options), x)
        numbers = jnp.arange(1, y.size + 1, dtype=y.dtype).reshape(y.shape)
        return y, pull(numbers)[0]

    y, dx = jax.jit(run)(x)
    return np.asarray(y).squeeze((0, -1)).tolist(), np.asarray(dx).squeeze((0, -1)).tolist()


# --- activations at zero, infinity and NaN --------------------------------------------------------


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_relu_has_slope_zero_at_zero(zero):
    y, dx = slope(ops.relu, [zero, 1e-30, -1e-30])
    assert y[0] == 0
    assert dx.tolist() == [0, 1, 0]


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_leaks_take_their_own_side_at_zero(zero):
    y, dx = slope(lambda x: ops.leaky_relu(x, 0.25), [zero])
    assert (y[0], dx[0]) == (0, 0.25)
    y, dx = slope(lambda x: ops.prelu(x, np.asarray([0.25], x.dtype)), [[zero]])
    assert (y[0, 0], dx[0, 0]) == (0, 0.25)


def test_a_slope_of_zero_makes_the_leak_a_relu():
    y, dx = slope(lambda x: ops.leaky_relu(x, 0.0), [-2.0, 0.0, 3.0])
    assert y.tolist() == [0, 0, 3]
    assert dx.tolist() == [0, 0, 1]


def test_a_learned_slope_gets_no_gradient_at_zero():
    x = np.asarray([[0.0], [-0.0], [2.0]], np.float32)
    _, dslope = slope(lambda s: ops.prelu(x, s), [0.25])
    assert dslope.tolist() == [0]


def test_hard_decisions_at_their_jump():
    y, dx = slope(ops.unit_step, [-inf, -1e-30, -0.0, 0.0, 1e-30, inf])
    assert y.tolist() == [0, 0, 0, 0, 1, 1]
    assert not dx.any()
    y, dx = slope(ops.signum, [-inf, -3.0, -0.0, 0.0, 3.0, inf])
    assert y.tolist() == [-1, -1, 0, 0, 1, 1]
    assert not dx.any()


@pytest.mark.parametrize(
    ("name", "y", "dx"),
    [
        ("relu", [0, inf], [0, 1]),
        ("leaky_relu", [-inf, inf], [np.float32(0.01), 1]),
        ("sigmoid", [0, 1], [0, 0]),
        ("tanh", [-1, 1], [0, 0]),
        ("scaled_tanh", [np.float32(-1.7159), np.float32(1.7159)], [0, 0]),
        ("gelu", [0, inf], [0, 1]),
    ],
)
def test_activations_at_infinity_reach_their_limits(name, y, dx):
    for namespace in (ops, reference):
        found, derivative = slope(getattr(namespace, name), [-inf, inf])
        assert found.tolist() == y
        np.testing.assert_allclose(derivative, dx, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["relu", "leaky_relu", "sigmoid", "tanh", "scaled_tanh", "gelu", "signum"]
)
def test_nan_comes_out_of_an_activation(name):
    y, _ = slope(getattr(ops, name), [nan, 1.0])
    assert math.isnan(y[0])
    assert not math.isnan(y[1])


def test_softmax_of_an_excluded_class_is_exactly_zero():
    y, dx = slope(ops.softmax, [[0.0, -inf, 0.0]])
    assert y.tolist() == [[0.5, 0, 0.5]]
    assert dx.tolist() == [[0, 0, 0]]


def test_softmax_does_not_overflow():
    y, dx = slope(ops.softmax, [[1e38, 0.0, -1e38]])
    assert y.tolist() == [[1, 0, 0]]
    assert np.isfinite(dx).all()


# --- ties -----------------------------------------------------------------------------------------


def test_a_tie_goes_to_the_first_in_window_order():
    assert routed(ops.max_pool, signal(5, 5, 1, 7, 7, 7), 3) == ([5, 7], [1, 0, 0, 2, 0, 0])
    x = image([0, 4, 1, 0], [4, 4, 2, 2], [3, 0, 9, 8], [3, 3, 9, 9])
    y, dx = routed(ops.max_pool, x, 2)
    assert y == [[4, 2], [3, 9]]
    assert dx == [[0, 1, 0, 0], [0, 0, 2, 0], [3, 0, 4, 0], [0, 0, 0, 0]]


def test_rows_come_before_columns_in_window_order():
    x = image([0, 0, 1], [1, 0, 0])
    assert routed(ops.max_pool, x, (2, 3))[1] == [[0, 0, 1], [0, 0, 0]]
    assert routed(ops.global_max_pool, x)[1] == [[0, 0, 1], [0, 0, 0]]


def test_the_first_of_equal_elements_wins_in_every_pool():
    ones = image([1, 1], [1, 1])
    for pool in (ops.max_pool, ops.relu_max_pool):
        assert routed(pool, ones, 2)[1] == [[1, 0], [0, 0]]
    assert routed(ops.global_max_pool, ones)[1] == [[1, 0], [0, 0]]


def test_windows_that_share_their_winner_add_up():
    x = signal(0, 1, 9, 1, 0)
    assert routed(ops.max_pool, x, 3, strides=1) == ([9, 9, 9], [0, 0, 6, 0, 0])
    # of equal elements each window takes its own first
    x = signal(9, 9, 9, 9)
    assert routed(ops.max_pool, x, 3, strides=1) == ([9, 9], [1, 2, 0, 0])


@pytest.mark.parametrize("name", ["max_pool", "relu_max_pool"])
@pytest.mark.parametrize(
    "options",
    [{}, {"strides": 1}, {"strides": 2, "padding": "SAME"}, {"padding": ((1, 0), (0, 1))}],
    ids=str,
)
def test_many_ties_go_where_xla_sends_them(name, options):
    drawn = np.random.default_rng(3).integers(-1, 3, (1, 7, 8, 1)).astype(np.float32)
    found = routed(getattr(ops, name), drawn, (3, 2), **options)
    assert found == routed(getattr(reference, name), drawn, (3, 2), **options)


def test_ties_over_the_whole_image_go_where_xla_sends_them():
    drawn = np.random.default_rng(4).integers(0, 3, (1, 4, 5, 1)).astype(np.float32)
    found = routed(ops.global_max_pool, drawn)
    assert found == routed(reference.global_max_pool, drawn)


def test_zeros_of_both_signs_tie():
    assert routed(ops.max_pool, signal(-0.0, 0.0), 2)[1] == [1, 0]
    assert routed(ops.global_max_pool, signal(-0.0, 0.0))[1] == [1, 0]


# --- the floor of the rectified pool --------------------------------------------------------------


def test_a_window_without_positive_element_sends_nothing_back():
    x = signal(-1, -2, 0, -0.0, 3, -1)
    assert routed(ops.relu_max_pool, x, 2) == ([0, 0, 3], [0, 0, 0, 0, 3, 0])


def test_a_whole_negative_image_sends_nothing_back():
    x = signal(-1, -1, -1, -1, -1, -1)
    assert routed(ops.relu_max_pool, x, 3, strides=1)[1] == [0] * 6


# --- padding --------------------------------------------------------------------------------------


def test_padding_never_wins():
    x = image([-5, -3], [-4, -9])
    y, dx = routed(ops.max_pool, x, 2, strides=2, padding=1)
    assert y == [[-5, -3], [-4, -9]]
    assert dx == [[1, 2], [3, 4]]
    assert routed(ops.max_pool, signal(-7, -7, -7), 3, strides=1, padding="SAME") == (
        [-7, -7, -7],
        [3, 3, 0],
    )


def test_minus_infinity_ties_with_the_padding():
    x = signal(-inf, -inf)
    found = routed(ops.max_pool, x, 2, strides=1, padding=1)
    assert found == ([-inf] * 3, [2, 3])
    assert found == routed(reference.max_pool, x, 2, strides=1, padding=1)


# --- infinities and NaN in a pool -----------------------------------------------------------------


def test_an_infinite_element_wins():
    assert routed(ops.max_pool, signal(1, inf, 2, -inf), 2) == ([inf, 2], [0, 1, 2, 0])
    assert routed(ops.relu_max_pool, signal(1, inf, -2, -inf), 2) == ([inf, 0], [0, 1, 0, 0])
    assert routed(ops.global_max_pool, signal(1, inf, 2)) == (inf, [0, 1, 0])


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("name", ["max_pool", "relu_max_pool", "average_pool", "square_pool"])
def test_nan_comes_out_of_its_window_alone(name, place):
    numbers = [1.0, 2.0, -1.0, 4.0, 5.0, 6.0]
    numbers[place] = nan
    y, dx = routed(getattr(ops, name), signal(*numbers), 3)
    assert math.isnan(y[0])
    assert not math.isnan(y[1])
    assert not np.isnan(dx[3:]).any()


@pytest.mark.parametrize("name", ["global_max_pool", "global_average_pool"])
def test_nan_comes_out_of_a_global_pool(name):
    assert np.isnan(getattr(ops, name)(signal(1.0, nan, 2.0))).all()


MOVES = {
    "as it is": lambda x: x,
    "negated": lambda x: -x,
    "padded": lambda x: jnp.pad(x, ((0, 0), (6, 4), (1, 1), (0, 0))),
    "joined": lambda x: jnp.concatenate([x, x], axis=1),
}


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
@pytest.mark.parametrize("window", [None, (2, 2), (13, 2), (15, 1)])
def test_nan_comes_out_of_a_max_pool_whatever_stands_before_it(window, move):
    """XLA on a CPU joins the pool with what moves its input, and its maxima lose NaN there."""
    x = np.zeros((3, 13, 2, 37), np.float32)
    x[0, 3, 1, 5] = x[1, 7, 0, 2] = nan

    def pool(x):
        return ops.max_pool(x, window, padding="SAME") if window else ops.global_max_pool(x)

    y = jax.jit(lambda x: pool(move(x)))(x)
    assert {(n, c) for n, *_, c in np.argwhere(np.isnan(y))} == {(0, 5), (1, 2)}


@pytest.mark.parametrize("window", [3, 6])
def test_the_gradient_of_a_window_with_nan_reaches_one_element_at_most(window):
    for place in range(window):
        numbers = [1.0, 5.0, 2.0, 4.0, 6.0, 3.0][:window]
        numbers[place] = nan
        for pool in (ops.max_pool, ops.relu_max_pool):
            _, dx = routed(pool, signal(*numbers), window)
            assert sorted(dx) in ([0] * window, [0] * (window - 1) + [1])


def test_the_gradient_of_a_global_max_pool_with_nan_goes_to_the_first():
    assert routed(ops.global_max_pool, signal(1.0, nan, 2.0, nan))[1] == [0, 1, 0, 0]


# --- large numbers in the normalisations ----------------------------------------------------------


@pytest.mark.parametrize("value", [1e7, 0.1, -3e30])
def test_a_constant_channel_is_normalised_to_its_offset(value):
    """A mean that rounding moves by one unit of 1e7 would give minus one."""
    one = np.ones(1, np.float32)
    for count in (12, 100, 3000):
        x = np.full((count, 1), value, np.float32)
        y, mean, variance = jax.jit(ops.batch_norm)(x, one, 2 * one)
        assert (y == 2).all()
        assert mean == x[0]
        assert variance == 0


def test_what_all_values_of_a_channel_share_takes_no_digits():
    generator = np.random.default_rng(0)
    x = (1e6 + generator.standard_normal((1000, 2))).astype(np.float32)
    scale, offset, dy = (generator.standard_normal(n).astype(np.float32) for n in (2, 2, x.shape))

    @jax.jit
    def run(x, dy):
        y, pull = jax.vjp(lambda x: ops.batch_norm(x, scale, offset)[0], x)
        return y, pull(dy)[0]

    y, dx = run(x, dy)
    wide = x.astype(np.float64)
    root = np.sqrt(wide.var(0) + 1e-5)
    hat = (wide - wide.mean(0)) / root
    np.testing.assert_allclose(y, hat * scale + offset, rtol=1e-5, atol=1e-6)
    expected = scale / root * (dy - dy.mean(0, dtype=float) - hat * (dy * hat).mean(0))
    np.testing.assert_allclose(dx, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("of", [ops, reference], ids=["ops", "reference"])
def test_a_neighbourhood_larger_than_the_channels_is_all_of_them(of):
    x = np.array([[1.0, -2.0, 3.0]], np.float32)
    expected = x / (2 + (x * x).sum()) ** 0.75
    y, pull = jax.vjp(lambda x: of.local_response_norm(x, size=10**12, scale=1.0), x)
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    all_of_them = jax.vjp(lambda x: of.local_response_norm(x, size=5, scale=1.0), x)[1]
    np.testing.assert_allclose(pull(y)[0], all_of_them(y)[0], rtol=1e-6)


def test_the_gradient_of_a_response_that_overflows_is_finite():
    x = np.array([[-2e38, 1.0, 3e19, 0.5]], np.float32)

    def run(dy):
        y, pull = jax.vjp(lambda x: ops.local_response_norm(x, size=3), x)
        return y, pull(dy)[0]

    wide = x.astype(np.float64)[0]
    s = 2 + 1e-4 * np.convolve(wide**2, np.ones(3), "same")
    for d in (1.0, -10.0, 1e6):
        y, dx = jax.jit(run)(np.full_like(x, d))
        np.testing.assert_allclose(y[0], wide * s**-0.75, atol=1e-6)
        crossed = np.convolve(d * wide * s**-1.75, np.ones(3), "same")
        np.testing.assert_allclose(
            dx[0], d * s**-0.75 - 1.5e-4 * wide * crossed, rtol=1e-5, atol=1e-6
        )
