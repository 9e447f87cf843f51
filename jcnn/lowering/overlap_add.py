"""The input gradient as a matrix product, then shifted sums: dx = sum_k shift_k(dy w[k]').

The product has no patches to build; the sums of its taps columns are one fused loop. It wins where
dy has more channels than x.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from jcnn.lowering.geometry import Geometry
from jcnn.lowering.windows import overlap_add


def input_gradient(g: Geometry, dy: jax.Array, w: jax.Array) -> jax.Array:
    """Every window's dx by one product, then the overlapping windows are added."""
    assert g.groups == 1, g
    channels = w.shape[-2]
    parts = jnp.matmul(dy, lax.collapse(w, 0, g.rank + 1).T)
    return overlap_add(g, lax.split(parts, (channels,) * g.taps, axis=g.rank + 1))
