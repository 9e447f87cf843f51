"""The running average of the weights, which evaluation uses in place of the last ones."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import optax
from jax import Array


class Average(NamedTuple):
    """An exponential moving average over the optimizer's steps.

    Attributes:
        params: Of the parameters, float32.
        state: Of the running statistics.
        updates: How many values it is of, int32. Steps that were skipped and batches whose gradient
            was only accumulated have given it none.
    """

    params: Any
    state: Any
    updates: Array

    @classmethod
    def first(cls, params: Any, state: Any) -> Self:
        """Begin with copies of the initial weights, which the first update replaces."""
        params, state = jax.tree.map(jnp.copy, (params, state))
        return cls(params, state, jnp.int32(0))

    def after(self, params: Any, state: Any, decay: float, stepped: Array | bool) -> Average:
        """Take a step of the average that weighs the initial weights with zero.

        Of the running mean m ← decay · m + (1 - decay) · new, begun at zero and divided by
        1 - decay^updates, as Adam does with its moments, this is the same in one recurrence.

        Args:
            params: The parameters after a training step.
            state: The running statistics after it.
            decay: What the average keeps of itself, from 0 to below 1.
            stepped: Whether the optimizer took a step; where not, nothing changes.
        """
        updates = self.updates + jnp.int32(stepped)
        rate = jnp.float32(decay)
        share = (1 - rate) / (1 - rate ** jnp.maximum(updates, 1).astype(jnp.float32))
        share = jnp.where(stepped, share, 0)
        given = params, state
        params, state = jax.tree.map(lambda a, b: a + share * (b - a), self[:2], given)
        return Average(params, state, updates)


def stepped(opt_state: Any) -> Array | bool:
    """Whether an optimizer that came to this state took a step, or only collected a gradient."""
    return opt_state.mini_step == 0 if isinstance(opt_state, optax.MultiStepsState) else True
