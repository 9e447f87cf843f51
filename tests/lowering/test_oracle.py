"""Every public lowering against NumPy loops."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jcnn import lowering
from jcnn.lowering import Geometry, large_windows
from tests.lowering import loops
from tests.selection import slow_unless

GEOMETRIES = {
    "1d": Geometry((9,), (3,), (1,), ((0, 0),), (1,)),
    "1d stride over window": Geometry((11,), (2,), (3,), ((1, 2),), (1,)),
    "2d": Geometry((7, 6), (3, 2), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    "2d same": Geometry((6, 5), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "2d stride 2": Geometry((8, 7), (3, 3), (2, 2), ((1, 1), (0, 1)), (1, 1)),
    "2d disjoint": Geometry((8, 7), (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    "2d dilated": Geometry((9, 8), (3, 2), (2, 1), ((1, 0), (2, 1)), (2, 3)),
    "2d 1x1": Geometry((4, 5), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    "2d 1x1 stride 2 padded": Geometry((5, 4), (1, 1), (2, 2), ((1, 0), (0, 1)), (1, 1)),
    "2d full": Geometry((4, 3), (3, 4), (1, 1), ((2, 2), (3, 3)), (1, 1)),
    "2d whole": Geometry((4, 5), (4, 5), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    "2d groups": Geometry((5, 6), (3, 3), (2, 1), ((1, 1), (1, 0)), (1, 1), groups=2),
    "2d depthwise": Geometry((5, 6), (3, 3), (1, 2), ((1, 1), (1, 1)), (1, 1), groups=4),
    "3d": Geometry((4, 3, 5), (2, 2, 3), (1, 2, 2), ((0, 1), (0, 0), (1, 1)), (1, 1, 1)),
}
BATCHES = [0, 3]
pytestmark = pytest.mark.usefixtures("mathematics")


@pytest.fixture(params=GEOMETRIES.values(), ids=GEOMETRIES.keys())
def g(request) -> Geometry:
    return request.param


@pytest.fixture(params=slow_unless((3).__eq__, BATCHES, lambda n: f"batch {n}"))
def arrays(request, g):
    rng = np.random.default_rng(0)
    n, channels, features = request.param, 4, 8
    return (
        rng.normal(size=(n, *g.size, channels)),
        rng.normal(size=(*g.window, channels // g.groups, features)),
        rng.normal(size=(n, *g.output, features)),
    )


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("operation", ["correlate", "input_gradient", "kernel_gradient"])
def test_correlations_equal_loops(operation, g, arrays):
    x, w, dy = arrays
    a, b = {"correlate": (x, w), "input_gradient": (dy, w), "kernel_gradient": (x, dy)}[operation]
    got = jax.jit(getattr(lowering, operation), static_argnums=0)(g, a, b)
    np.testing.assert_allclose(got, getattr(loops, operation)(g, a, b), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("floor", [None, 0.0])
def test_max_pool_equals_loops_with_ties_to_the_first(floor, g, arrays):
    x = np.round(arrays[0])
    y, winner = jax.jit(lowering.max_pool, static_argnums=(0, 2))(g, x, floor)
    expected, where = loops.max_pool(g, x, floor)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(winner, where)
    assert winner.dtype == np.uint8


def test_gather_scatter_and_sums_equal_loops(g, arrays):
    x, _, _ = arrays
    dy = np.random.default_rng(1).normal(size=(x.shape[0], *g.output, x.shape[-1]))
    winner = loops.max_pool(g, x, 0.3)[1].astype(np.uint8)
    for name, args in {
        "gather": (x, winner),
        "scatter": (dy, winner),
        "window_sum": (x,),
        "window_spread": (dy,),
    }.items():
        got = jax.jit(getattr(lowering, name), static_argnums=0)(g, *args)
        np.testing.assert_allclose(
            got, getattr(loops, name)(g, *args), rtol=1e-12, atol=1e-12, err_msg=name
        )


@pytest.mark.slow
def test_windows_of_many_elements_have_wider_winners():
    g = Geometry((256,), (256,), (1,), ((0, 0),), (1,))
    x = np.arange(256.0).reshape(1, 256, 1)
    y, winner = jax.jit(lowering.max_pool, static_argnums=0)(g, x)
    assert winner.dtype == np.uint16
    assert winner.item() == y.item() == 255


@pytest.mark.parametrize("channels", [1, 32])
@pytest.mark.parametrize("taps", [1, 2, 127, 128, 129, 254, 255, 300])
def test_scatter_tells_the_winners_of_any_window_and_none_apart(taps, channels):
    g = Geometry((2 * taps,), (taps,), (taps,), ((0, 0),), (1,))
    dtype = np.uint8 if taps <= 254 else np.uint16
    winner = np.array([*range(taps), np.iinfo(dtype).max], dtype)
    winner = np.stack([winner, winner[::-1]], axis=1)[..., None].repeat(channels, axis=-1)
    dy = np.arange(1.0, winner.size + 1).reshape(winner.shape)
    dx = jax.jit(lowering.scatter, static_argnums=0)(g, dy, winner)
    np.testing.assert_array_equal(dx, loops.scatter(g, dy, winner))
    assert np.count_nonzero(dx) == 2 * taps * channels


def test_scatter_of_more_elements_than_an_index_of_32_bits_counts_is_the_same(monkeypatch):
    g = Geometry((12, 12), (7, 7), (2, 2), ((0, 0),) * 2, (1, 1))
    rng = np.random.default_rng(0)
    winner = rng.integers(0, 50, (2, *g.output, 3)).astype(np.uint8)
    winner[winner == 49] = 255
    dy = rng.integers(-3, 4, winner.shape).astype(np.float32)
    monkeypatch.setattr(large_windows, "COUNTED", 100)
    np.testing.assert_array_equal(
        large_windows.scatter(g, dy, winner), loops.scatter(g, dy, winner)
    )
