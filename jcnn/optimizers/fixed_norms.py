r"""Kernels that keep their norm: only their direction is learned.

Where a batch normalisation follows, a kernel's length changes nothing that the network computes,
and yet it says how far a step turns it: what grows learns ever slower. Muon's updates have all the
same norm, so that with kernels of a fixed one the learning rate is the angle of a step (Jordan,
2024).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax


def fixed_norms() -> optax.GradientTransformation:
    r"""Change updates so that each kernel has the norm :math:`\sqrt{n}` afterwards.

    For the n columns of length one that an orthogonal matrix has, one per feature (the last axis):

    .. math:: u' = \sqrt{n} \, \frac{w + u}{\lVert w + u \rVert} - w

    with the Euclidean norm over all elements. Updates of arrays of one axis, which are biases,
    scales and offsets, stay as they are, and so does a kernel of nothing but zeros.

    >>> fix = fixed_norms()
    >>> kernel = {"w": jnp.array([[3.0], [0.0]])}
    >>> update, _ = fix.update({"w": jnp.array([[0.0], [4.0]])}, fix.init(kernel), kernel)
    >>> [round(value, 4) for value in (kernel["w"] + update["w"]).ravel().tolist()]
    [0.6, 0.8]
    """

    def fixed(update: jax.Array, kernel: jax.Array) -> jax.Array:
        if kernel.ndim < 2:
            return update
        moved = kernel + update
        precise = moved.astype(jnp.promote_types(moved.dtype, jnp.float32))
        norm = jnp.linalg.norm(precise.ravel())
        factor = jnp.where(norm > 0, precise.shape[-1] ** 0.5 / jnp.where(norm > 0, norm, 1), 1)
        return (precise * factor).astype(moved.dtype) - kernel

    def change(updates: Any, params: Any) -> Any:
        return jax.tree.map(fixed, updates, params)

    return optax.stateless(change)
