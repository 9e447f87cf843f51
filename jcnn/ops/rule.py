r"""The notation in which gradients are written: what is computed, what is kept, the pullback.

A rule states all three, and nothing else::

    @rule(keeps=output)
    def sigmoid(a):
        return lax.logistic(a)

    @sigmoid.pullback
    def _(z, dy):
        return dy * z * (1 - z)

``keeps`` chooses, from the output and the arguments, what stays in memory between the passes; the
pullback receives it, then the cotangent of the output, and returns the gradient of each argument.
A pullback made of functions that have rules themselves can be differentiated again, to any order.

A linear map and its adjoint name each other, which is all that there is to say of their gradients::

    @linear
    def window_sum(geometry, x): ...

    @window_sum.adjoint
    def window_spread(geometry, dy): ...

Both are ``jax.custom_vjp`` underneath: reverse mode only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jcnn.ops.mesh import Placement, placement
from jcnn.ops.vmapped import Fold, Splits, Vmapped

R = TypeVar("R")
Kept = tuple[Any, ...]


def output(y: Any, *arrays: Any) -> Kept:
    """Keep the output."""
    return (y,)


def arguments(y: Any, *arrays: Any) -> Kept:
    """Keep the arguments."""
    return arrays


def nothing(y: Any, *arrays: Any) -> Kept:
    """Keep nothing."""
    return ()


def all_but_first(y: Any, *arrays: Any) -> Kept:
    """Keep the arguments that a map is not linear in: keys, winners."""
    return arrays[1:]


@jax.tree_util.register_static
@dataclass(frozen=True)
class Wanted:
    """Of each argument whether its gradient goes anywhere; images of a batch have none.

    Most rules need not know: what nobody uses XLA leaves out, but for what something waits for.
    """

    gradients: tuple[bool, ...] = ()


class Rule(Generic[R]):
    """A function with its gradient; made by :func:`rule`."""

    def __init__(
        self, function: Callable[..., R], keeps: Callable[..., Kept], statics: int, asks: bool
    ) -> None:
        self._keeps, self._statics, self._asks = keeps, statics, asks
        self._vmapped: Vmapped | None = None
        self._function = jax.custom_vjp(function, nondiff_argnums=tuple(range(statics)))
        update_wrapper(self, function)

    def __call__(self, *args: Any) -> R:
        """Compute; under differentiation, keep and pull back; under ``vmap``, fold or map."""
        if self._vmapped is None:
            return self._function(*args)  # pyright: ignore[reportReturnType]
        y: Any = self._vmapped(args[: self._statics], *args[self._statics :])
        return y

    def folding(
        self,
        fold: Fold,
        like: Callable[..., Any] | None = None,
        splits: Splits | None = None,
    ) -> Rule[R]:
        """Say how examples that ``vmap`` maps become a batch: see :mod:`jcnn.ops.vmapped`.

        And how several devices share the work, where that isn't left to the compiler.
        """
        name = vars(self)["__name__"]  # of the function
        self._vmapped = Vmapped(name, self._function, fold, like or self._function, splits)
        return self

    def pullback(self, function: Callable[..., Any]) -> Rule[R]:
        """State ``function(*statics, *kept, dy)``: the gradient of each argument, or of the one.

        Of a rule that ``asks``, ``function(*statics, *kept, dy, wanted)``: see :class:`Wanted`.
        """

        def forward(*args: Any) -> tuple[R, tuple[Kept, Placement, Wanted]]:
            statics, arrays, wanted = args[: self._statics], args[self._statics :], Wanted()
            if self._asks:
                wanted = Wanted(tuple(a.perturbed for a in arrays))
                arrays = tuple(a.value for a in arrays)
            y = self(*statics, *arrays)
            return y, (self._keeps(y, *arrays), placement(*arrays), wanted)

        def backward(*args: Any) -> tuple[Any, ...]:
            *statics, (kept, placed, wanted), dy = args
            if isinstance(dy, SymbolicZero):
                dy = jnp.zeros(dy.shape, dy.dtype)  # pyright: ignore[reportArgumentType]
            gradients = function(*statics, *kept, dy, *((wanted,) if self._asks else ()))
            return placed.of(gradients if isinstance(gradients, tuple) else (gradients,))

        self._function.defvjp(forward, backward, symbolic_zeros=self._asks)
        return self


def rule(
    *, keeps: Callable[..., Kept], statics: int = 0, asks: bool = False
) -> Callable[[Callable[..., R]], Rule[R]]:
    """Give a function a gradient of its own; its first ``statics`` arguments are hashable.

    A rule that ``asks`` is told which gradients are wanted.
    """
    return lambda function: Rule(function, keeps, statics, asks)


class Linear(Rule[jax.Array]):
    """A map ``function(static, x, *fixed)``, linear in x; made by :func:`linear`."""

    def adjoint(self, function: Callable[..., jax.Array]) -> Linear:
        r"""State the adjoint, called in the same way.

        The gradient of :math:`A x` is :math:`A^T \delta`, whose own gradient is A again. ``fixed``
        is kept between the passes, and has no gradient.
        """
        other = Linear(function, all_but_first, self._statics, asks=False)
        for one, its_adjoint in ((self, other), (other, self)):
            one.pullback(_transposing(its_adjoint))
        return other


def _transposing(adjoint: Linear) -> Callable[..., tuple[Any, ...]]:
    def pullback(static: Any, *kept_and_cotangent: Any) -> tuple[Any, ...]:
        *fixed, dy = kept_and_cotangent
        return adjoint(static, dy, *fixed), *(None for _ in fixed)

    return pullback


def linear(function: Callable[..., jax.Array]) -> Linear:
    """Begin a pair of a linear map and its adjoint; the first argument is static."""
    return Linear(function, all_but_first, 1, asks=False)
