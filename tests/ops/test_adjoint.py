"""The adjoint identity: <dy, F(x)> = <F^T dy, x>, whatever computes F and F^T."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import lowering, ops
from jcnn.lowering import Geometry
from jcnn.ops import triple
from tests.cases import CASES, is_distinct, is_quick
from tests.ops.pullbacks import cotangents, differentiable, pullback
from tests.selection import slow_unless
from tests.tolerances import tolerance

pytestmark = pytest.mark.usefixtures("x64", "mathematics")

BILINEAR = ("convolve", "correlate", "convolve_transpose", "dense")
LINEAR = ("average_pool", "decimate", "global_average_pool")
# not linear, but f(t x) = t f(x) for t > 0, from which the same identity follows (Euler)
HOMOGENEOUS = ("relu", "leaky_relu", "max_pool", "relu_max_pool", "global_max_pool")
CHOSEN = {
    "1d-stride-over-window", "2d-same-strided", "2d-dilation-stride-padding", "2d-two-groups",
    "2d-many-channels", "3d-strided-same", "no-bias", "three-axes",
    "2d-overlapping", "2d-uneven-padding", "2d", "image", "matrix",
}  # fmt: skip
CASES = [c for c in CASES if c.op in BILINEAR + LINEAR + HOMOGENEOUS and c.name in CHOSEN]


@pytest.mark.parametrize(
    "case", slow_unless(is_quick, CASES, lambda case: case.id, in_ci=is_distinct)
)
def test_adjoint_identity(case):
    function, args = case.function(ops), case.arguments()
    if case.op in BILINEAR:
        args = args[:2]  # a bias would make it affine
    dy = cotangents(function, args)
    y, gradients = jax.jit(pullback(function))(dy, *args)
    for place, gradient in zip(differentiable(args), gradients, strict=True):
        np.testing.assert_allclose(
            np.vdot(dy, y), np.vdot(gradient, args[place]), **tolerance("float64")
        )


GEOMETRY = Geometry((7, 8), (3, 2), (2, 1), ((1, 0), (0, 1)), (1, 3), groups=2)


def test_the_triple_is_one_trilinear_form():
    """<dy, F(x, w)> = <X(dy, w), x> = <W(x, dy), w>, at three unrelated arrays."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((2, *GEOMETRY.size, 4))
    w = generator.standard_normal((*GEOMETRY.window, 2, 6))
    dy = generator.standard_normal((2, *GEOMETRY.output, 6))

    @jax.jit
    def products(x, w, dy):
        return (
            jnp.vdot(dy, triple.correlation(GEOMETRY, x, w)),
            jnp.vdot(x, triple.input_gradient(GEOMETRY, dy, w)),
            jnp.vdot(w, triple.kernel_gradient(GEOMETRY, x, dy)),
        )

    first, *others = products(x, w, dy)
    np.testing.assert_allclose(others, first, **tolerance("float64"))


def test_gather_and_scatter_of_winners_are_adjoint():
    pool = Geometry((7, 8), (3, 3), (2, 2), ((1, 0), (0, 1)), (1, 1))
    generator = np.random.default_rng(0)
    x = generator.standard_normal((2, *pool.size, 3))
    dy = generator.standard_normal((2, *pool.output, 3))

    @jax.jit
    def products(x, dy):
        _, winner = lowering.max_pool(pool, x, 0.5)
        y, dx = lowering.gather(pool, x, winner), lowering.scatter(pool, dy, winner)
        return jnp.vdot(dy, y), jnp.vdot(dx, x), (winner == 255).sum()

    forward, backward, without = products(x, dy)
    assert 0 < without < dy.size, "windows with and without a winner"
    np.testing.assert_allclose(forward, backward, **tolerance("float64"))
