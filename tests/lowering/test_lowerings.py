"""Every lowering against XLA's own convolution; the choice; life inside transformations."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jcnn import lowering, ops
from jcnn.lowering import (
    Geometry,
    fold,
    forced,
    on_machine,
    overlap_add,
    this_machine,
    xla,
)
from jcnn.lowering.algorithms import applicable
from jcnn.lowering.blocks import block_size
from jcnn.lowering.problem import CORRELATIONS as OPERATIONS
from jcnn.lowering.problem import TINY
from tests.selection import slow_unless

# They start processes, train or compile much.
pytestmark = pytest.mark.slow

ONE = (1, 1)
NONE = ((0, 0), (0, 0))
SAME = ((1, 1), (1, 1))
GEOMETRIES = {
    "1-D stride 3": Geometry((17,), (5,), (3,), ((2, 1),), (1,)),
    "3x3 same": Geometry((6, 9), (3, 3), ONE, SAME, ONE),
    "5x3": Geometry((9, 8), (5, 3), ONE, NONE, ONE),
    "groups without padding": Geometry((10, 9), (3, 3), ONE, NONE, ONE, groups=3),
    "4x4 stride 2": Geometry((8, 8), (4, 4), (2, 2), SAME, ONE),
    "1x1 stride 2": Geometry((8, 7), ONE, (2, 2), ((1, 0), (0, 1)), ONE),
    "dilated": Geometry((9, 9), (3, 2), (1, 2), ((2, 2), (0, 0)), (2, 3)),
    "groups at stride 1": Geometry((9, 6), (3, 3), ONE, SAME, ONE, groups=3),
    "groups": Geometry((6, 5), (3, 3), (2, 1), SAME, ONE, groups=3),
}
DISTINCT = ("3x3 same", "4x4 stride 2")


def operands(operation, g, n=5, channels=6, features=9, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(n, *g.size, channels)), dtype)
    w = jnp.asarray(rng.normal(size=(*g.window, channels // g.groups, features)), dtype)
    dy = jnp.asarray(rng.normal(size=(n, *g.output, features)), dtype)
    return {"correlate": (x, w), "input_gradient": (dy, w), "kernel_gradient": (x, dy)}[operation]


@pytest.mark.usefixtures("mathematics")
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", slow_unless(DISTINCT.__contains__, GEOMETRIES))
def test_all_lowerings_agree(name, operation):
    # Blocks of a few images, and a remainder, even at this size.
    small = replace(this_machine(), cache_bytes=160_000)
    g = GEOMETRIES[name]
    a, b = operands(operation, g)
    expected = getattr(xla, operation)(g, a, b)
    scale = np.abs(expected).max()
    for choice in applicable(operation, g):
        with on_machine(small), forced(choice):
            got = jax.jit(partial(getattr(lowering, operation), g))(a, b)
        np.testing.assert_allclose(got, expected, atol=2e-5 * scale, rtol=0, err_msg=choice)


@pytest.mark.parametrize("name", ["1-D stride 1", "3x3 same", "5x3", "dilated at stride 1"])
def test_the_parts_of_a_small_example_are_gathered_to_the_same_gradient(name):
    g = {
        **GEOMETRIES,
        "1-D stride 1": Geometry((9,), (5,), (1,), ((2, 1),), (1,)),
        "dilated at stride 1": Geometry((8, 7), (3, 2), ONE, ((2, 2), (0, 0)), (2, 3)),
    }[name]
    dy, w = operands("input_gradient", g, n=1)
    assert prod(dy.shape[:-1]) <= TINY
    expected = xla.input_gradient(g, dy, w)
    got = jax.jit(partial(overlap_add.input_gradient, g))(dy, w)
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.usefixtures("mathematics")
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "geometry",
    slow_unless("3x3 same".__eq__, ["3x3 same", "groups at stride 1", "groups without padding"]),
)
def test_minimal_filtering_is_exact_but_for_rounding(operation, geometry):
    g = GEOMETRIES[geometry]
    with jax.enable_x64(True), forced("winograd"):
        a, b = operands(operation, g, n=2, dtype=jnp.float64)
        got = jax.jit(partial(getattr(lowering, operation), g))(a, b)
        expected = getattr(xla, operation)(g, a, b)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("batch", "fit", "size"), [(64, 100, 64), (64, 13, 8), (60, 13, 12), (64, 0, 1), (67, 20, 17)]
)
def test_blocks_are_whole_where_that_costs_less_than_half_of_them(batch, fit, size):
    assert block_size(batch, image_bytes=10, block_bytes=10 * fit) == size


@pytest.mark.usefixtures("mathematics")
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "case",
    slow_unless(
        "patches, 3x3 same".__eq__,
        [f"{name}, 3x3 same" for name in ("patches", "transposed", "fold_xla", "winograd")]
        + ["winograd, 5x3"],
    ),
)
def test_vmap_scan_and_remat_change_nothing(case, operation):
    choice, geometry = case.split(", ")
    g = GEOMETRIES[geometry]
    if choice not in applicable(operation, g):
        pytest.skip("does not serve this operation")
    pairs = [operands(operation, g, n=n) for n in (2, 2)]
    a, b = (jnp.stack(arrays) for arrays in zip(*pairs, strict=True))
    with forced(choice):
        run = partial(getattr(lowering, operation), g)
        expected = jnp.stack([run(*pair) for pair in pairs])
        for got in (
            jax.vmap(run)(a, b),
            jax.vmap(run, in_axes=(None, 0))(a[0], b),
            lax.map(lambda ab: jax.checkpoint(run)(*ab), (a, b)),
        ):
            np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", slow_unless(DISTINCT.__contains__, GEOMETRIES))
def test_bfloat16_sums_in_float32(name, operation):
    g = GEOMETRIES[name]
    a, b = operands(operation, g, dtype=jnp.bfloat16)
    exact = getattr(xla, operation)(g, a.astype(jnp.float32), b.astype(jnp.float32))
    got = getattr(lowering, operation)(g, a, b)
    assert got.dtype == jnp.bfloat16
    error = jnp.linalg.norm((got.astype(jnp.float32) - exact).ravel())
    assert error < 4e-3 * jnp.linalg.norm(exact.ravel())


def test_shard_map_runs_the_chosen_lowering():
    g = GEOMETRIES["3x3 same"]
    x, w = operands("correlate", g, n=4)
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split, whole = jax.P("data"), jax.P()
    run = jax.shard_map(
        lambda x, w: lowering.max_pool(
            Geometry((6, 9), (2, 2), (2, 2), NONE, ONE), lowering.correlate(g, x, w)
        )[0],
        mesh=mesh,
        in_specs=(split, whole),
        out_specs=split,
    )
    assert jax.jit(run)(x, w).shape == (4, 3, 4, 9)


def test_outputs_folded_together_divide_the_row_and_stay_below_the_window():
    for window, row, outputs in ((5, 24, 4), (3, 28, 2), (7, 22, 2), (5, 27, 3), (3, 27, 1)):
        g = Geometry((row + window - 1,) * 2, (window,) * 2, ONE, NONE, ONE)
        assert fold.outputs_a_block(g, 1, 32) == (1, outputs)


@pytest.mark.usefixtures("mathematics")
@pytest.mark.parametrize("batch", slow_unless((5).__eq__, [1, 2, 5]))
def test_pools_of_any_batch_and_an_overlapping_scatter_are_adjoint(batch):
    g = Geometry((7, 8), (3, 3), (2, 2), ((1, 0), (0, 1)), ONE)
    x = jax.random.normal(jax.random.key(0), (batch, *g.size, 3))
    y, winner = lowering.max_pool(g, x)
    np.testing.assert_array_equal(y, lowering.gather(g, x, winner))
    dy = jax.random.normal(jax.random.key(1), y.shape)
    np.testing.assert_allclose(
        jnp.vdot(dy, y), jnp.vdot(lowering.scatter(g, dy, winner), x), rtol=1e-5
    )


@pytest.mark.parametrize("transform", [lambda f: f, jax.vmap], ids=["plain", "vmap"])
def test_on_a_cpu_a_winner_is_found_once_however_often_it_is_used(transform):
    """Fused into its users, it would be found by each, and the pool's input kept for that."""

    def run(x, dy):
        y, pull = jax.vjp(lambda x: ops.relu_max_pool(x + 1, 2), x)
        (dx,) = pull(dy)
        return y, dx, dx.sum((0, 1, 2))

    x, dy = jnp.ones((5, 4, 8, 8, 3)), jnp.ones((5, 4, 4, 4, 3))
    arrays = (x, dy) if transform is jax.vmap else (x[0], dy[0])
    program = jax.jit(transform(run)).lower(*arrays).compile().as_text()
    calls = [line for line in program.splitlines() if " call(" in line]
    assert len(calls) == 2, program
    assert "4,4,4,3]" in calls[0]


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="XLA's CPU backend")
@pytest.mark.parametrize(
    ("operation", "name"),
    [
        ("correlate", "direct"),
        ("input_gradient", "direct"),
        ("input_gradient", "overlap_add"),
        ("input_gradient", "fold_overlap_add"),
    ],
)
def test_sums_over_the_window_are_not_taken_again_in_the_loops_of_who_reads_them(operation, name):
    x, w = jnp.ones((8, 16, 16, 2)), jnp.ones((5, 5, 2, 8))

    def pooled(x, dy):
        y, back = jax.vjp(lambda x: ops.correlate(x, w), x)
        return ops.max_pool(y if operation == "correlate" else back(dy)[0], 2)

    with forced(**{operation: name}):
        program = jax.jit(pooled).lower(x, jnp.ones((8, 12, 12, 8))).compile().as_text()
    loops = [loop for loop in program.split("\n\n") if " maximum(" in loop]
    assert loops
    assert not any(" add(" in loop for loop in loops)
