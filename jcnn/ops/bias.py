r"""The bias, :math:`z + b \cdot \mathbf{1}`, and its gradient, :math:`\sum \delta` [T]."""

from __future__ import annotations

import jax

from jcnn.ops.rule import custom_vjp


def check_bias(op: str, b: jax.Array | None, full: tuple[int, ...]) -> None:
    """Refuse a bias that is neither one a channel nor one a position of ``full`` (*output, D)."""
    if b is not None and b.shape not in {full, full[-1:]}:
        both = " or ".join(str(shape) for shape in dict.fromkeys((full[-1:], full)))
        raise ValueError(f"{op}: b must have shape {both}, found {b.shape}")


def add_bias(z: jax.Array, b: jax.Array | None) -> jax.Array:
    r"""Add ``b``, (D,) or (*output, D), to ``z`` (N, *output, D).

    Gradient:
        :math:`\partial L/\partial b = \sum_{u', v'} \delta(u', v')` over all positions that share
        the bias [T "Gradient for bias term"], the sum over the batch among them;
        :math:`\partial L/\partial z = \delta`. Nothing is kept between the passes.
    """
    return z if b is None else _add_bias(b.ndim, z, b)


@custom_vjp(statics=1)
def _add_bias(bias_axes: int, z: jax.Array, b: jax.Array) -> jax.Array:
    return z + b


def _add_bias_fwd(bias_axes: int, z: jax.Array, b: jax.Array) -> tuple[jax.Array, None]:
    return _add_bias(bias_axes, z, b), None


def _add_bias_bwd(bias_axes: int, residuals: None, dz: jax.Array) -> tuple[jax.Array, jax.Array]:
    return dz, dz.sum(axis=tuple(range(dz.ndim - bias_axes)))


_add_bias.defvjp(_add_bias_fwd, _add_bias_bwd)
