"""Two linear maps, each the other's gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from jcnn.ops.rule import custom_vjp


def adjoint_pair(
    forward: Callable[..., jax.Array], backward: Callable[..., jax.Array]
) -> tuple[Callable[..., jax.Array], Callable[..., jax.Array]]:
    r"""Tie two linear maps together by explicit rules.

    For a linear map :math:`y = A x` the gradient is :math:`A^T \delta`, whose own gradient is
    :math:`A` again: two rules that name each other are closed under differentiation to any order.

    Args:
        forward: ``forward(static, x, *fixed)``, linear in ``x``; ``static`` is hashable.
        backward: Its adjoint, called in the same way.

    Returns:
        Both, each with a rule that calls the other. Between the passes nothing is kept but
        ``fixed`` (winners of a pool, for example), whose gradient is not defined.
    """

    @custom_vjp(statics=1)
    def apply(static: Any, x: jax.Array, *fixed: Any) -> jax.Array:
        return forward(static, x, *fixed)

    @custom_vjp(statics=1)
    def transpose(static: Any, dy: jax.Array, *fixed: Any) -> jax.Array:
        return backward(static, dy, *fixed)

    apply.defvjp(
        lambda static, x, *fixed: (apply(static, x, *fixed), fixed),
        lambda static, fixed, dy: (transpose(static, dy, *fixed), *(None for _ in fixed)),
    )
    transpose.defvjp(
        lambda static, dy, *fixed: (transpose(static, dy, *fixed), fixed),
        lambda static, fixed, dx: (apply(static, dx, *fixed), *(None for _ in fixed)),
    )
    return apply, transpose
