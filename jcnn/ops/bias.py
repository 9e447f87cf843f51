r"""The bias, :math:`z + b \cdot \mathbf{1}`, and its gradient, :math:`\sum \delta` [T]."""

from __future__ import annotations

import jax
from jax import lax

from jcnn.ops.rule import nothing, rule


def check_bias(b: jax.Array | None, full: tuple[int, ...]) -> None:
    """Refuse a bias that is neither per channel nor per position of ``full`` (*output, D)."""
    if b is not None and b.shape not in {full, full[-1:]}:
        both = " or ".join(str(shape) for shape in dict.fromkeys((full[-1:], full)))
        raise ValueError(f"b must have shape {both}, found {b.shape}")


def add_bias(z: jax.Array, b: jax.Array | None) -> jax.Array:
    r"""Add ``b``, (D,) or (*output, D), to ``z`` (N, *output, D).

    Gradient:
        :math:`\partial L/\partial b = \sum_{u', v'} \delta(u', v')` over all positions that share
        the bias [T "Gradient for bias term"], the sum over the batch among them;
        :math:`\partial L/\partial z = \delta`. Nothing is kept between the passes.
    """
    return z if b is None else _add_bias(b.ndim, z, b)


@rule(keeps=nothing, statics=1)
def _add_bias(bias_axes: int, z: jax.Array, b: jax.Array) -> jax.Array:
    return z + lax.broadcast_to_rank(b, z.ndim)


@_add_bias.pullback
def _(bias_axes: int, dz: jax.Array) -> tuple[jax.Array, jax.Array]:
    return dz, dz.sum(axis=tuple(range(dz.ndim - bias_axes)))  # ∂L/∂b = Σ δ [T]
