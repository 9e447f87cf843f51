"""Minimal filtering: its algebra in rationals, its rounding under a bound per element."""

from fractions import Fraction
from functools import partial
from itertools import product

import jax
import numpy as np
import pytest

from jcnn import lowering
from jcnn.lowering import Geometry, forced, winograd
from jcnn.lowering.algorithms import applicable
from jcnn.lowering.problem import CORRELATIONS as OPERATIONS
from jcnn.lowering.winograd import TILE, matrices
from jcnn.proof.bounds import winograd_bound
from jcnn.proof.oracle import Window, correlations
from tests.selection import slow_unless

# They start processes, train or compile much.
pytestmark = pytest.mark.slow

WINDOWS = (1, 3, 5)
ORACLE = {
    "correlate": correlations.correlation,
    "input_gradient": correlations.input_gradient,
    "kernel_gradient": correlations.kernel_gradient,
}


def test_these_windows_are_all_that_it_serves():
    for r in range(1, 12):
        g = Geometry((16, 16), (r, r), (1, 1), ((0, 0),) * 2, (1, 1))
        assert ("winograd" in applicable("correlate", g)) == (r in WINDOWS)


@pytest.mark.parametrize("r", WINDOWS)
def test_every_coefficient_is_that_of_the_correlation(r):
    """In exact rationals, sum_e A'[i, e] G[e, k] B'[e, j] is 1 where j = i + k, else 0.

    The three functions y(x, w), dx(dy, w) and dw(x, dy) have the same coefficients, summed over
    other indices, so that the adjoints are proved too; along several axes they are products.
    """
    a, g, b = matrices(TILE, r)
    for i, k, j in product(range(TILE), range(r), range(TILE + r - 1)):
        terms = (a[i][e] * g[e][k] * b[e][j] for e in range(TILE + r - 1))
        assert sum(terms, start=Fraction(0)) == (j == i + k), (i, k, j)


@pytest.mark.parametrize("r", WINDOWS)
def test_the_program_multiplies_by_the_rationals_rounded_once(r):
    for exact, rounded in zip(matrices(TILE, r), winograd._matrices(TILE, r), strict=True):
        for (i, j), entry in np.ndenumerate(rounded):
            assert entry == float(exact[i][j])
            assert float(np.float32(entry)) == pytest.approx(float(exact[i][j]), rel=2.0**-24)
    _, _, b = matrices(TILE, r)
    assert all(float(np.float32(float(e))) == e for row in b for e in row), "B' is exact"


@pytest.mark.parametrize("r", WINDOWS)
def test_the_zeros_that_the_transform_of_the_input_leaves_out_are_zeros(r):
    """The rows of 0 and infinity are one polynomial, an element apart; others lack both ends."""
    _, _, b = matrices(TILE, r)
    assert b[0][-1] == b[1][0] == 0
    assert b[0][:-1] == b[1][1:]
    assert all(e == 0 for e in b[0][1::2])
    assert all(row[0] == row[-1] == 0 for row in b[2:])


GEOMETRIES = {
    "mnist": ((64, 12, 12, 32), (5, 5), ((0, 0), (0, 0)), 64, 1),
    "residual": ((16, 16, 16, 64), (3, 3), ((1, 1), (1, 1)), 64, 1),
    "groups": ((3, 7, 9, 6), (3, 3), ((1, 0), (0, 2)), 4, 2),
    "beyond": ((2, 6, 5, 3), (3, 3), ((4, 0), (0, 5)), 4, 1),
    "volume": ((2, 6, 7, 5, 4), (3, 3, 1), ((1, 1), (0, 2), (0, 0)), 4, 1),
    "groups, tiles of outputs": ((3, 10, 9, 6), (3, 3), ((0, 0), (0, 0)), 4, 2),
    "volume, tiles of outputs": ((2, 10, 6, 6, 4), (3, 1, 3), ((0, 0), (1, 0), (0, 0)), 4, 1),
    "cropped, tiles of outputs": ((2, 14, 12, 3), (5, 3), ((-1, 0), (0, -2)), 4, 1),
}


def operands(shape, window, padding, features, groups, adversarial=False):
    n, *size, c = shape
    rank = len(size)
    g = Geometry(tuple(size), window, (1,) * rank, padding, (1,) * rank, groups)
    rng = np.random.default_rng(0)
    x = rng.integers(-9, 10, shape)
    w = rng.integers(-9, 10, (*window, c // groups, features))
    dy = rng.integers(-9, 10, (n, *g.output, features))
    if adversarial:  # one huge pixel, and large values that cancel
        x[(0, *(s // 2 for s in size), 0)] = dy[(0, *(s // 2 for s in g.output), 0)] = 10**6
        w[..., ::2, :] *= 1000
        w[..., 1::2, :] = -w[..., ::2, :][..., : w[..., 1::2, :].shape[-2], :]
    return g, {"correlate": (x, w), "input_gradient": (dy, w), "kernel_gradient": (x, dy)}


def run(operation, g, a, b):
    with forced("winograd"):
        function = jax.jit(partial(getattr(lowering, operation), g))
        return np.asarray(function(a.astype(np.float32), b.astype(np.float32)), np.float64)


def error_and_bound(operation, g, a, b, scale=1.0):
    at = Window(g.size, g.window, g.strides, g.dilation, g.padding)
    expected = scale**2 * ORACLE[operation](at, g.groups, a, b)
    a, b = scale * a, scale * b
    error = np.abs(run(operation, g, a, b) - expected)
    bound = winograd_bound(operation, g, a, b)
    assert bound.shape == error.shape
    return error, bound


def test_input_gradients_take_tiles_of_outputs_where_these_are_fewer():
    """Both ways are among the geometries that are held against their bounds."""
    taken = {}
    for name, shape in GEOMETRIES.items():
        g, _ = operands(*shape)
        taken[name] = winograd.by_tiles_of_outputs(g.within_reach())
    assert {name for name, outputs in taken.items() if outputs} == {
        "mnist",
        *(name for name in GEOMETRIES if name.endswith("tiles of outputs")),
    }


@pytest.mark.parametrize("adversarial", [False, True], ids=["whole-numbers", "adversarial"])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", slow_unless(list(GEOMETRIES)[:2].__contains__, GEOMETRIES))
def test_every_element_lies_within_its_bound(name, operation, adversarial):
    g, arrays = operands(*GEOMETRIES[name], adversarial=adversarial)
    error, bound = error_and_bound(operation, g, *arrays[operation])
    assert (error <= bound).all()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_numbers_so_small_that_they_are_flushed_to_zero_are_within_it_too(operation):
    """Products of 2^-132, and inputs of 2^-140: their results are zero."""
    g, arrays = operands((2, 8, 8, 2), (3, 3), ((0, 0), (0, 0)), 2, 1)
    for scale in (2.0**-66, 2.0**-140):
        error, bound = error_and_bound(operation, g, *arrays[operation], scale)
        assert (error <= bound).all()
    assert bound.max() < 1e-30


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_bound_is_not_empty(operation):
    """A matrix entry off by a thousandth takes an element past it; and rounding comes near it."""
    g, arrays = operands((2, 8, 8, 1), (3, 3), ((0, 0), (0, 0)), 1, 1)
    error, bound = error_and_bound(operation, g, *arrays[operation])
    assert (error / np.maximum(bound, 1e-30)).max() > 1e-4
    patched = [m.copy() for m in winograd._matrices(TILE, 3)]
    patched[1][2, 1] *= 1.001
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "_matrices", lambda m, r: tuple(patched))
        error, bound = error_and_bound(operation, g, *arrays[operation])
    assert (error > bound).any()


def test_a_large_pixel_disturbs_outputs_of_its_tile_that_do_not_see_it_within_their_bound():
    x = np.ones((1, 8, 8, 1), np.int64)
    x[0, 2, 2, 0] = 2**20
    g, arrays = operands((1, 8, 8, 1), (3, 3), ((0, 0), (0, 0)), 1, 1)
    error, bound = error_and_bound("correlate", g, x, arrays["correlate"][1])
    assert (error <= bound).all()
    assert bound[0, 3, 3, 0] > 1000 * bound[0, 4:, 4:].max()
