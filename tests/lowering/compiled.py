"""What tests of the compiled loops share: arrays, a lowering's results, drawn geometries."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from jcnn import lowering
from jcnn.geometry import Geometry
from jcnn.lowering import forced

LAYER = Geometry((12, 12), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))


def arrays(operation, g, images=3, channels=19, features=37):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((images, *g.size, channels))
    w = rng.standard_normal((*g.window, channels // g.groups, features))
    dy = rng.standard_normal((images, *g.output, features))
    pairs = {"correlate": (x, w), "input_gradient": (dy, w), "kernel_gradient": (x, dy)}
    return [jnp.asarray(a, jnp.float32) for a in pairs[operation]]


def by(name, operation, g, *given):
    with forced(name):
        return jax.jit(partial(getattr(lowering, operation), g))(*given)


def assert_near(got, expected, error=3e-5):
    """Within the rounding of minimal filtering, as a share of the largest value."""
    scale = np.abs(expected).max() + 1e-30
    np.testing.assert_allclose(got, expected, atol=error * scale, rtol=0)


@st.composite
def problems(draw):
    """Any geometry of a line or an image, with channels that fill no vector."""
    rank = draw(st.integers(1, 2))

    def each(least, most):
        return tuple(draw(st.integers(least, most)) for _ in range(rank))

    square = (draw(st.sampled_from((3, 5))),) * rank
    window = square if draw(st.booleans()) else each(1, 6)
    strides = draw(st.sampled_from(((1,) * rank, each(1, 3))))
    dilation = draw(st.sampled_from(((1,) * rank, each(1, 2))))
    size = tuple(d * (k - 1) + 1 + n for d, k, n in zip(dilation, window, each(0, 12), strict=True))
    padding = tuple(zip(each(0, 3), each(0, 3), strict=True))
    channels = draw(st.integers(1, 40))
    features = draw(st.one_of(st.integers(1, 7), st.integers(1, 70)))
    groups = draw(st.sampled_from((1, 2, 5, channels)))
    if groups == channels:
        features = channels
    elif groups > 1:
        channels, features = groups * draw(st.integers(1, 12)), groups * draw(st.integers(1, 20))
    g = Geometry(size, window, strides, padding, dilation, groups)
    return g, draw(st.integers(1, 4)), channels, features
