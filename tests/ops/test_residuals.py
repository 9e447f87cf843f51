"""What each operation keeps between its passes, as its docstring states it: no more, no less."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import ops

KEY = jax.random.key(0)
X = jnp.zeros((2, 6, 8, 3))
W = jnp.zeros((3, 2, 3, 4))
Y = jnp.zeros((2, 4, 7, 4))
ROW = jnp.zeros((5, 4))
CHANNEL = jnp.zeros(4)


def kept(function, *args):
    """Shapes and dtypes of the arrays that the backward pass is given, from the trace alone."""
    pull = jax.eval_shape(lambda *args: jax.vjp(function, *args)[1], *args)
    return sorted((leaf.dtype.name, leaf.shape) for leaf in jax.tree.leaves(pull))


def sizes(*arrays):
    """What ``kept`` returns for these arrays."""
    return sorted((a.dtype.name, a.shape) for a in arrays)


def like(dtype, *shape):
    return jax.ShapeDtypeStruct(shape, dtype)


@pytest.mark.parametrize("op", [ops.correlate, ops.convolve, ops.convolve_transpose])
@pytest.mark.parametrize("bias", [(), (4,)])
def test_a_correlation_keeps_its_input_and_kernel(op, bias):
    arrays = (X, W, CHANNEL) if bias else (X, W)
    assert kept(op, *arrays) == sizes(X, W)


def test_a_bias_a_position_is_not_kept():
    assert kept(ops.correlate, X, W, Y[0]) == sizes(X, W)


def test_a_border_is_kept_with_the_input():
    x = jnp.zeros((2, 8, 9, 3))
    assert kept(lambda *a: ops.correlate(*a, padding="CIRCULAR"), X, W) == sizes(x, W)
    assert kept(lambda *a: ops.convolve(*a, padding=((-1, 2), 0)), X, W) == sizes(X[:, 1:], W)
    assert kept(lambda *a: ops.convolve_transpose(*a, padding="CIRCULAR"), X, W) == sizes(X, W)


def test_padding_and_counting_keep_nothing():
    assert kept(lambda x: ops.pad(x, 2, mode="REFLECT"), X) == []
    pool = lambda x: ops.average_pool(x, 3, padding=1, count_include_pad=False)  # noqa: E731
    assert kept(pool, X) == []


def test_dense_keeps_its_input_and_weights():
    weights = jnp.zeros((4, 3))
    assert kept(ops.dense, ROW, weights, weights[0]) == sizes(ROW, weights)


@pytest.mark.parametrize("op", [ops.max_pool, ops.relu_max_pool])
def test_a_max_pool_keeps_one_byte_an_output(op):
    assert kept(lambda x: op(x, 2), X) == [("uint8", (2, 3, 4, 3))]
    assert kept(lambda x: op(x, 3, strides=2, padding="SAME"), X) == [("uint8", (2, 3, 4, 3))]


@pytest.mark.parametrize(("window", "dtype"), [((2, 127), "uint8"), ((15, 17), "uint16")])
def test_a_large_window_needs_a_larger_index(window, dtype):
    x = jnp.zeros((1, 16, 127, 1))
    ((found, shape),) = kept(lambda x: ops.max_pool(x, window), x)
    assert found == dtype
    assert shape == (1, 16 // window[0], 127 // window[1], 1)


def test_a_global_max_pool_keeps_the_winners():
    assert kept(ops.global_max_pool, X) == sizes(like(np.int32, 2, 3))


@pytest.mark.parametrize(
    "op",
    [
        lambda x: ops.average_pool(x, 3, strides=2, padding=1),
        lambda x: ops.decimate(x, 2),
        ops.global_average_pool,
        ops.unit_step,
        ops.signum,
    ],
    ids=["average_pool", "decimate", "global_average_pool", "unit_step", "signum"],
)
def test_nothing_is_kept(op):
    assert kept(op, X) == []


def test_a_square_pool_keeps_its_input():
    assert kept(lambda x: ops.square_pool(x, 2), X) == sizes(X)


@pytest.mark.parametrize(
    "op", [ops.relu, ops.leaky_relu, ops.sigmoid, ops.tanh, ops.scaled_tanh, ops.softmax]
)
def test_an_activation_keeps_its_output_alone(op):
    assert kept(op, X) == sizes(X)
    x = jnp.asarray([[-2.0, -1.0, 3.0]])
    y, pull = jax.jit(lambda x: jax.vjp(op, x))(x)
    (residual,) = jax.tree.leaves(pull)
    assert (residual == y).all()
    assert (residual != x).any()


@pytest.mark.parametrize("op", [ops.sigmoid, ops.tanh, ops.scaled_tanh])
def test_both_passes_of_an_activation_read_and_write_five_arrays(op):
    if jax.default_backend() != "cpu":
        pytest.skip("what XLA writes for a CPU")
    x = jnp.ones((64, 1024))

    def passes(x, dy):
        y, pull = jax.vjp(op, x)
        return y, pull(dy)

    costs = jax.jit(passes).lower(x, x).compile().cost_analysis()
    assert costs["bytes accessed"] / x.nbytes == pytest.approx(5, abs=0.1)  # x, y; y, dy, dx


def test_gelu_keeps_its_input():
    """Two inputs share an output, so that it doesn't tell the slope."""
    assert kept(ops.gelu, X) == sizes(X)
    x = jnp.asarray([[-2.0, -1.0, 3.0]])
    _, pull = jax.jit(lambda x: jax.vjp(ops.gelu, x))(x)
    (residual,) = jax.tree.leaves(pull)
    assert (residual == x).all()


def test_an_activation_shares_what_it_keeps_with_the_next_layer():
    """The output of ReLU is the input of the convolution after it: one array, not two."""

    assert kept(lambda x, w: ops.correlate(ops.relu(x), w), X, W) == sizes(X, W)


@pytest.mark.parametrize("shape", [(), (3,)])
def test_prelu_keeps_its_arguments(shape):
    slope = jnp.zeros(shape)
    assert kept(ops.prelu, X, slope) == sizes(X, slope)


def test_dropout_keeps_the_key_alone():
    assert kept(lambda x: ops.dropout(x, KEY, 0.5), X) == [(KEY.dtype.name, ())]


def test_batch_norm_keeps_its_input_and_channels():
    channel = jnp.zeros(3)
    one, two = [channel], [channel] * 2
    assert kept(ops.batch_norm, X, *two) == sizes(X, *one, *two)
    assert kept(ops.batch_norm_inference, X, *two, *two) == sizes(X, *one, *two)


def test_local_response_norm_keeps_its_input():
    assert kept(ops.local_response_norm, X) == sizes(X)


def test_losses_keep_no_more_than_their_arguments():
    labels, distribution = jnp.zeros(5, jnp.int32), jnp.zeros((5, 4))
    assert kept(ops.mean_squared_error, ROW, distribution) == sizes(ROW)
    assert kept(ops.binary_cross_entropy, ROW, distribution) == sizes(ROW, distribution)
    cross_entropy = ops.softmax_cross_entropy
    assert kept(lambda a: cross_entropy(a, labels), ROW) == sizes(ROW, labels)
    assert kept(cross_entropy, ROW, distribution) == sizes(ROW, distribution)


def test_half_precision_is_kept_in_half_precision():
    x, w = X.astype(jnp.bfloat16), W.astype(jnp.bfloat16)
    assert kept(ops.convolve, x, w) == sizes(x, w)
    assert kept(lambda x: ops.max_pool(x, 2), x) == [("uint8", (2, 3, 4, 3))]


def test_a_convolution_with_relu_and_pool_keeps_input_kernel_and_winners():
    """The block of the lectures: of the excitations, the largest array, nothing is kept."""

    def block(x, w):
        return ops.relu_max_pool(ops.convolve(x, w), 2)

    assert kept(block, X, W) == sizes(X, W, like(np.uint8, 2, 2, 3, 4))
