"""The programs that an operation is compiled in, to be compared with whole numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jcnn.proof.whole_numbers import Problem

SECOND_ORDER = "second order"
Draws = list[list[np.ndarray]]
Found = list[dict[str, np.ndarray]]


def _first_order(function: Callable[..., jax.Array]) -> Callable[..., tuple[jax.Array, ...]]:
    def run(dy: jax.Array, *x: jax.Array) -> tuple[jax.Array, ...]:
        y, pull = jax.vjp(function, *x)
        return y, *pull(dy)

    return run


def _arguments(problem: Problem, arrays: list[np.ndarray], order: int = 1) -> list[np.ndarray]:
    count = 1 + len(problem.names) * order
    return [problem.cast(a) for a in arrays[:count]]


def _labelled(problem: Problem, outputs: Sequence[Any]) -> dict[str, np.ndarray]:
    return dict(
        zip(["y", *(f"d{n}" for n in problem.names)], map(np.asarray, outputs), strict=True)
    )


def _one_by_one(problem: Problem, drawn: Draws, function: Callable[..., jax.Array]) -> Found:
    run = jax.jit(_first_order(function))
    return [_labelled(problem, run(*_arguments(problem, arrays))) for arrays in drawn]


def _jit(problem: Problem, drawn: Draws) -> Found:
    return _one_by_one(problem, drawn, problem.function)


def _remat(problem: Problem, drawn: Draws) -> Found:
    return _one_by_one(problem, drawn, jax.checkpoint(problem.function))


def _together(problem: Problem, drawn: Draws, mapped: Callable[..., Any]) -> Found:
    stacked = [np.stack(a) for a in zip(*(_arguments(problem, d) for d in drawn), strict=True)]
    outputs = jax.jit(mapped)(*stacked)
    return [_labelled(problem, [a[i] for a in outputs]) for i in range(len(drawn))]


def _scan(problem: Problem, drawn: Draws) -> Found:
    run = _first_order(problem.function)
    return _together(problem, drawn, lambda *arrays: lax.map(lambda a: run(*a), arrays))


def _vmap(problem: Problem, drawn: Draws) -> Found:
    return _together(problem, drawn, jax.vmap(_first_order(problem.function)))


def _second_order(problem: Problem, drawn: Draws) -> Found:
    """The gradient of <gradients, v>, reverse over reverse, in dy and in each argument."""
    count = len(problem.names)

    def along_v(dy: jax.Array, *arrays: jax.Array) -> jax.Array:
        x, v = arrays[:count], arrays[count:]
        gradients = jax.vjp(problem.function, *x)[1](dy)
        products = (jnp.vdot(a, b) for a, b in zip(gradients, v, strict=True))
        return sum(products, start=jnp.zeros((), problem.dtype))

    run = jax.jit(jax.grad(along_v, argnums=tuple(range(1 + count))))
    labels = ["second order dy", *(f"second order d{name}" for name in problem.names)]
    return [
        dict(zip(labels, map(np.asarray, run(*_arguments(problem, a, order=2))), strict=True))
        for a in drawn
    ]


PROGRAMS: dict[str, Callable[[Problem, Draws], Found]] = {
    "jit": _jit,
    SECOND_ORDER: _second_order,
    "scan": _scan,
    "vmap": _vmap,
    "remat": _remat,
}
