"""Compiled loops of bfloat16: arrays of it as they are, and products of it where that is asked."""

from __future__ import annotations

import shutil
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from jcnn import lowering, ops
from jcnn.geometry import Geometry
from jcnn.lowering import Policy, Problem, allow_native, candidates, choose, forced
from jcnn.lowering.native import building, library
from jcnn.lowering.problem import CORRELATIONS
from jcnn.proof.bounds import BFLOAT16, FLOAT32, winograd_bound
from tests.lowering.compiled import LAYER, arrays, assert_near, by, problems

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not any(map(shutil.which, building.COMPILERS)), reason="there is no C++ compiler"
    ),
]
NAME = "native_winograd"
# Where the batch's tiles, the channels of a group and the features are odd, there is a pair of one.
GEOMETRIES = {
    "one group": (LAYER, 3, 32, 48),
    "odd channels, tiles and features": (replace(LAYER, size=(9, 5)), 1, 19, 37),
    "of one": (replace(LAYER, size=(5, 13)), 2, 1, 1),
    "even channels in groups": (replace(LAYER, groups=2), 3, 20, 18),
    "odd channels in groups": (replace(LAYER, groups=2), 3, 18, 20),
    "no padding": (Geometry((7, 9), (3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1)), 2, 24, 40),
}


def exactly(operation, g, *given):
    """The result in float64."""
    with jax.enable_x64(True):
        wide = (jnp.asarray(np.asarray(a, np.float64)) for a in given)
        return np.asarray(by("xla", operation, g, *wide))


@pytest.mark.parametrize("operation", CORRELATIONS)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_rounded_products_stay_within_their_bound(built, name, operation):
    g, *counts = GEOMETRIES[name]
    given = arrays(operation, g, *counts)
    exact = exactly(operation, g, *given)
    with jax.default_matmul_precision("bfloat16"):
        error = np.abs(np.asarray(by(NAME, operation, g, *given), np.float64) - exact)
    wide = [np.asarray(a, np.float64) for a in given]
    assert np.all(error <= winograd_bound(operation, g, *wide, BFLOAT16))
    assert np.sqrt(np.mean(error**2) / np.mean(exact**2)) < 0.02


@pytest.mark.parametrize("operation", CORRELATIONS)
def test_products_are_rounded_where_it_is_asked_and_the_processor_can(built, operation):
    given = arrays(operation, LAYER)
    exact = exactly(operation, LAYER, *given)
    wide = [np.asarray(a, np.float64) for a in given]
    bound = winograd_bound(operation, LAYER, *wide, FLOAT32)
    for asked, exact_ones in ((None, True), ("tensorfloat32", True), ("bfloat16", False)):
        with jax.default_matmul_precision(asked):
            error = np.abs(np.asarray(by(NAME, operation, LAYER, *given), np.float64) - exact)
        assert np.all(error <= bound) == (exact_ones or not library.pairs()), asked


def test_under_the_precision_of_float32_no_minimal_filtering_is_chosen(built):
    with allow_native(True), jax.default_matmul_precision("float32"):
        assert "winograd" not in choose("correlate", LAYER, 64, 64).name


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(problems())
def test_arrays_of_bfloat16_are_rounded_once(built, problem):
    """As in float32, to half a unit of bfloat16's last place and what float32 rounds."""
    g, images, channels, features = problem
    for operation in CORRELATIONS:
        given = [a.astype(jnp.bfloat16) for a in arrays(operation, g, images, channels, features)]
        expected = by("xla", operation, g, *(a.astype(jnp.float32) for a in given))
        got = by(NAME, operation, g, *given)
        assert got.dtype == jnp.bfloat16
        assert got.shape == expected.shape
        units = np.abs(np.asarray(expected)) * 2.0**-8
        off = np.abs(np.asarray(got, np.float32) - np.asarray(expected))
        assert np.all(off <= units + 3e-5 * (np.abs(expected).max(initial=0.0) + 1e-30))


@pytest.mark.parametrize("asked", [None, "bfloat16"])
def test_what_is_no_number_stays_so_and_reaches_its_tile_alone(built, asked):
    x, w = arrays("correlate", LAYER)
    for value in (np.nan, -np.nan, np.inf):
        for dtype in (jnp.float32, jnp.bfloat16):
            bad = x.at[1, 5, 6, 3].set(value).astype(dtype)
            with jax.default_matmul_precision(asked):
                y = np.asarray(by(NAME, "correlate", LAYER, bad, w.astype(dtype)), np.float32)
            finite = np.isfinite(y)
            assert not finite[1, 4:7, 5:8].any()
            assert finite[[0, 2]].all()


@pytest.mark.parametrize("value", [1.00390625, -3.3e36, 3.3e36, 2.0**-126, 1 + 2.0**-8, 0.0])
def test_results_of_any_size_are_rounded_to_the_nearest(built, value):
    """Of two terms that lie between two numbers of bfloat16."""
    g = replace(LAYER, size=(4, 4))
    x = jnp.full((1, 4, 4, 2), value, jnp.bfloat16)
    w = jnp.zeros((3, 3, 2, 1), jnp.bfloat16)
    w = w.at[1, 1].set(jnp.array([[1.0], [2.0**-8]], jnp.bfloat16))
    got = by(NAME, "correlate", g, x, w)
    expected = by("xla", "correlate", g, x.astype(jnp.float32), w.astype(jnp.float32))
    units = np.abs(np.asarray(expected)) * 2.0**-8
    np.testing.assert_array_less(
        np.abs(np.asarray(got, np.float32) - np.asarray(expected)), units * 1.001 + 1e-37
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gradients_and_repeated_calls_are_the_same_bits(built, dtype):
    x, w = (a.astype(dtype) for a in arrays("correlate", LAYER, images=8, channels=32, features=48))

    def loss(x, w):
        return (ops.correlate(x, w, padding=1).astype(jnp.float32) ** 2).sum()

    with forced(NAME), jax.default_matmul_precision("bfloat16"):
        first, *others = (jax.jit(jax.grad(loss, (0, 1)))(x, w) for _ in range(5))
        each = jax.jit(jax.vmap(jax.grad(loss, (0, 1)), (0, None)))(x[:, None], w)
    for other in others:
        for one, two in zip(first, other, strict=True):
            np.testing.assert_array_equal(one, two)
    assert_near(np.asarray(each[0][:, 0], float), np.asarray(first[0], float), error=1e-2)
    assert_near(np.asarray(each[1].sum(0), float), np.asarray(first[1], float), error=3e-2)


def test_a_program_knows_what_precision_it_was_compiled_for(built):
    x, w = arrays("correlate", LAYER)
    function = jax.jit(lambda x, w: lowering.correlate(LAYER, x, w))
    with forced(NAME):
        before = function(x, w)
        with jax.default_matmul_precision("bfloat16"):
            rounded = function(x, w)
        after = function(x, w)
    np.testing.assert_array_equal(before, after)
    assert np.array_equal(before, rounded) != library.pairs()


@pytest.mark.parametrize("operation", CORRELATIONS)
def test_the_choice_knows_that_products_are_halved(built, operation):
    problem = Problem(operation, LAYER, 64, 256, 256)

    def seconds():
        return {c.name: c.seconds for c in candidates(problem, Policy.current())}

    before = seconds()
    with jax.default_matmul_precision("bfloat16"):
        after = seconds()
    assert 0.5 <= after.pop(NAME) / before.pop(NAME) < 0.8 or not library.pairs()
    assert after == before
    five = Problem(operation, replace(LAYER, window=(5, 5), size=(14, 14)), 64, 256, 256)
    before = candidates(five, Policy.current())
    with jax.default_matmul_precision("bfloat16"):
        assert [c.seconds for c in candidates(five, Policy.current())] == [
            c.seconds for c in before
        ]
