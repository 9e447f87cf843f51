"""What XLA's CPU backend is told to compute first, for its arrays' sake."""

import math
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import ops
from jcnn.lowering import computed_anew, on_cpu_after
from jcnn.lowering.blocks import map_blocks, sum_blocks


def copies(function, *arguments, donated=()):
    """The numbers of elements of what the compiled program copies."""
    text = jax.jit(function, donate_argnums=donated).lower(*arguments).compile().as_text()
    shapes = re.findall(r"= f32\[([0-9,]*)\]\S* copy\(", text)
    return [math.prod(int(n) for n in shape.split(",") if n) for shape in shapes]


def test_what_waits_is_what_it_was():
    x = jnp.asarray([0.0, -0.0, 1.5, jnp.nan, jnp.inf])
    for first in (x, x[::-1]):
        after = jax.jit(on_cpu_after)(first, x, jnp.ones(9))
        np.testing.assert_array_equal(
            np.asarray(after).view(np.int32), np.asarray(x).view(np.int32)
        )


def test_a_dense_layers_weights_are_updated_in_place():
    rng = np.random.default_rng(0)
    x, w, v = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((4, 96), (96, 64), (64, 96)))

    def loss(weights, x):
        w, v = weights
        return ops.dense(ops.relu(ops.dense(jnp.tanh(x), w)), v).sum()

    def step(weights, x):
        gradients, _ = jax.grad(loss, (0, 1))(weights, x)
        return jax.tree.map(lambda w, g: w - 0.1 * g, weights, gradients)

    assert w.size not in copies(step, (w, v), x, donated=0)


@pytest.mark.parametrize(
    "around", [jax.jit, jax.checkpoint, lambda f: f], ids=["jit", "remat", "plain"]
)
def test_of_a_first_layer_no_input_gradient_is_computed(around):
    """Nor does its kernel gradient wait for one."""
    x, w = jnp.ones((4, 96)), jnp.ones((96, 64))

    def products(multiply, arguments):
        loss = around(lambda w, x: (multiply(x, w) ** 2).sum())
        return jax.jit(jax.grad(loss, arguments)).lower(w, x).compile().as_text().count(" dot(")

    assert products(ops.dense, 0) == products(jnp.matmul, 0)
    assert products(ops.dense, (0, 1)) == products(ops.dense, 0) + 1


@pytest.mark.parametrize("batch", [6, 7])
def test_blocks_are_put_together(batch):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(batch, 3, 4)), jnp.float32)
    squares, sums = map_blocks(lambda a: (a * a, a.sum(1)), 2, x)
    np.testing.assert_array_equal(squares, x * x)
    np.testing.assert_allclose(sums, x.sum(1), rtol=1e-6)
    product = sum_blocks(partial(jnp.einsum, "nij,nik->jk"), 2, (4, 4), x, x)
    np.testing.assert_allclose(product, jnp.einsum("nij,nik->jk", x, x), rtol=1e-5)


def test_loops_over_blocks_share_no_array_of_zeros():
    matrix, x = jnp.full((8, 8), 2.0), jnp.ones((8, 5, 8))

    def doubled(a):
        return map_blocks(lambda part: part @ matrix, 2, jnp.sin(a))

    assert x.size not in copies(lambda x: doubled(doubled(doubled(x))), x)


def test_local_response_normalisation_keeps_its_input_alone():
    layers, x = 6, jnp.ones((8, 16, 16, 32))

    def loss(x):
        for _ in range(layers):
            x = ops.local_response_norm(jnp.roll(x, 1, axis=1))
        return x.sum()

    kept = jax.jit(jax.grad(loss)).lower(x).compile().memory_analysis().temp_size_in_bytes
    assert kept < 2.5 * layers * x.nbytes


@pytest.mark.parametrize(("platform", "barriers"), [("cpu", 1), ("cuda", 1), ("tpu", 0)])
def test_what_is_computed_anew_stands_behind_a_barrier_but_on_tpus(platform, barriers):
    traced = jax.jit(computed_anew).trace(jnp.ones(3), jnp.ones(3))
    program = traced.lower(lowering_platforms=(platform,)).as_text()
    assert program.count("optimization_barrier") == barriers
