"""The kernel gradient as an XLA convolution laid out for XLA's fast path on a CPU.

The same convolution as in ``xla``, its transposes made before it: inside a loop XLA's CPU backend
runs only channels-last images with (*window, C, D) kernels on its fast path, and all else up to 90
times slower.
"""

from __future__ import annotations

import jax
from jax import lax

from jcnn.geometry import Geometry
from jcnn.lowering import xla


def kernel_gradient(g: Geometry, x: jax.Array, dy: jax.Array) -> jax.Array:
    """dw': images of the C channels, with the batch as their channels, under the kernel dy."""
    assert g.groups == 1, g
    space = tuple(range(1, g.rank + 1))
    # The barrier keeps XLA from folding the transposes back into the convolution.
    x, dy = lax.optimization_barrier(
        (
            lax.transpose(xla.reached(g, x), (g.rank + 1, *space, 0)),
            lax.transpose(dy, (*space, 0, g.rank + 1)),
        )
    )
    dw = lax.conv_general_dilated(
        x,
        dy,
        window_strides=g.dilation,
        padding=xla.kernel_gradient_padding(g),
        rhs_dilation=g.strides,
        dimension_numbers=xla.images(g),
    )
    return lax.transpose(dw, (*space, 0, g.rank + 1))
