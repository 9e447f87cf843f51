r"""One learning rate per weight, from the loss's curvature along it (LeCun et al., 1989, 1998).

The stochastic diagonal Levenberg-Marquardt method divides each weight's gradient by its own second
derivative,

.. math:: \Delta w_k = -\frac{\epsilon}{\mu + h_{kk}} \frac{\partial L}{\partial w_k}

with :math:`h_{kk}` the diagonal of the Gauss-Newton matrix :math:`J^T H J`: :math:`J` is the
output's Jacobian and :math:`H` the second derivative of the loss by the output, so that :math:`h`
is never negative. It is estimated without the matrix: for a random :math:`v` with
:math:`E[v v^T] = H` the mean of :math:`(J^T v)^2` is that diagonal, and :math:`J^T v` is one
backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

# An unbiased estimate of the Gauss-Newton diagonal, shaped like the parameters, when called.
Curvature = Callable[[], Any]


class DiagonalCurvatureState(NamedTuple):
    """Steps done, estimates taken, and their running mean before its correction."""

    count: Array
    estimates: Array
    curvature: Any


def scale_by_diagonal_curvature(
    *, damping: float = 0.02, estimate_every_steps: int = 8, decay: float = 0.998
) -> optax.GradientTransformationExtraArgs:
    """Divide each gradient by ``damping`` plus the curvature along its parameter.

    ``update`` takes the keyword ``curvature``, a function of no arguments that gives an estimate;
    the training step passes one. It runs only in the steps that estimate.

    Args:
        damping: μ, which bounds the rate of a parameter without curvature.
        estimate_every_steps: Steps from one estimate to the next; each costs about one more step.
        decay: Decay per estimate of the running mean, corrected for its start as in Adam.

    Raises:
        ValueError: ``damping`` is not above 0, ``estimate_every_steps`` no integer of at least 1,
            or ``decay`` not in [0, 1).

    >>> scale = scale_by_diagonal_curvature(damping=1.0)
    >>> gradient = {"w": jnp.array([1.0, 1.0])}
    >>> estimate = lambda: {"w": jnp.array([0.0, 3.0])}
    >>> update, state = scale.update(gradient, scale.init(gradient), curvature=estimate)
    >>> [round(rate, 4) for rate in update["w"].tolist()]
    [1.0, 0.25]
    """
    _check_numbers(damping, estimate_every_steps, decay)

    def init(params: Any) -> DiagonalCurvatureState:
        return DiagonalCurvatureState(
            jnp.int32(0), jnp.int32(0), jax.tree.map(jnp.zeros_like, params)
        )

    def update(
        updates: Any,
        state: Any,
        params: Any = None,
        *,
        curvature: Curvature | None = None,
        **_: Any,
    ) -> tuple[Any, DiagonalCurvatureState]:
        if curvature is None:
            raise ValueError("scale_by_diagonal_curvature: update needs curvature=, found None")
        running, estimates = lax.cond(
            state.count % estimate_every_steps == 0,
            lambda: (
                jax.tree.map(_mean(decay), state.curvature, curvature()),
                state.estimates + 1,
            ),
            lambda: (state.curvature, state.estimates),
        )
        known = 1 - jnp.float32(decay) ** estimates.astype(jnp.float32)
        scaled = jax.tree.map(lambda g, h: g / (damping + h / known), updates, running)
        return scaled, DiagonalCurvatureState(state.count + 1, estimates, running)

    return optax.GradientTransformationExtraArgs(init, update)


def diagonal_levenberg_marquardt(
    learning_rate: optax.ScalarOrSchedule,
    damping: float = 0.02,
    estimate_every_steps: int = 8,
    decay: float = 0.998,
) -> optax.GradientTransformationExtraArgs:
    """The stochastic diagonal Levenberg-Marquardt method.

    Args:
        learning_rate: ε, or its schedule.
        damping: See :func:`scale_by_diagonal_curvature`.
        estimate_every_steps: Likewise.
        decay: Likewise.
    """
    scale = scale_by_diagonal_curvature(
        damping=damping, estimate_every_steps=estimate_every_steps, decay=decay
    )
    return optax.chain(scale, optax.scale_by_learning_rate(learning_rate))


def curvatures(opt_state: Any) -> list[Any]:
    """Return the running means that an optimizer's state holds, wherever in it they are.

    >>> curvatures(optax.sgd(0.1).init({"w": jnp.ones(2)}))
    []
    """
    parts = jax.tree.leaves(opt_state, is_leaf=lambda s: isinstance(s, DiagonalCurvatureState))
    return [part.curvature for part in parts if isinstance(part, DiagonalCurvatureState)]


def _check_numbers(damping: Any, estimate_every_steps: Any, decay: Any) -> None:
    """Refuse numbers that lead to a division by zero; of those that JAX traces nothing is known."""
    _check("damping", damping, lambda n: n > 0, "a number above 0")
    _check("decay", decay, lambda n: 0 <= n < 1, "a number of at least 0 and less than 1")
    _check(
        "estimate_every_steps",
        estimate_every_steps,
        lambda n: isinstance(n, int) and n > 0,
        "an integer above 0",
    )


def _check(name: str, value: Any, fits: Callable[[Any], bool], expected: str) -> None:
    if isinstance(value, int | float) and not fits(value):
        raise ValueError(f"scale_by_diagonal_curvature: {name}: expected {expected}, found {value}")


def _mean(decay: float) -> Callable[[Array, Array], Array]:
    return lambda running, new: decay * running + (1 - decay) * new
