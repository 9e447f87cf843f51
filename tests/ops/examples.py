"""Examples that ``jax.vmap`` maps, in whole numbers: the programs, and what they should give."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcnn.proof import Call
from jcnn.proof.oracle import formula

EXAMPLES = 3
# x and w: which of them every example has of its own.
MAPPED = {"x": (True, False), "w": (False, True), "x and w": (True, True)}


class Examples:
    """An operation on x and w, over examples."""

    def __init__(self, problem: Call, mapped: tuple[bool, bool]) -> None:
        (names, shapes, _), self.mapped = zip(*problem.arrays[:2], strict=True), mapped
        self.problem, self.names = problem, names
        self.formula = formula(problem.op, shapes, dict(problem.statics))
        generator = np.random.default_rng(0)

        def draw(shape: tuple[int, ...], every: bool) -> np.ndarray:
            return generator.integers(-3, 4, (EXAMPLES, *shape) if every else shape)

        self.arrays = [draw(*pair) for pair in zip(shapes, mapped, strict=True)]
        self.dy = draw(self.formula.value(*self._example(0)).shape, True)

    def _example(self, i: int) -> list[np.ndarray]:
        return [a[i] if m else a for a, m in zip(self.arrays, self.mapped, strict=True)]

    def expected(self) -> list[np.ndarray]:
        """Values, gradients of their sum over the examples, and gradients of each example."""
        every = [self._example(i) for i in range(EXAMPLES)]
        values = np.stack([self.formula.value(*example) for example in every])
        pulled = [
            self.formula.pullback(dy, *example) for dy, example in zip(self.dy, every, strict=True)
        ]
        each = [np.stack(gradients) for gradients in zip(*pulled, strict=True)]
        whole = [g if m else g.sum(0) for g, m in zip(each, self.mapped, strict=True)]
        return [values, *whole, *each]

    def run(self, ops: Any, x: jax.Array, w: jax.Array, dy: jax.Array) -> list[jax.Array]:
        """The same by ``grad`` of ``vmap``, and by ``vmap`` of ``grad``."""
        options = dict(self.problem.statics)

        def call(x: jax.Array, w: jax.Array) -> jax.Array:
            return getattr(ops, self.problem.op)(
                **dict(zip(self.names, (x, w), strict=True)), **options
            )

        def gradients(x: jax.Array, w: jax.Array, dy: jax.Array) -> tuple[jax.Array, ...]:
            return jax.vjp(call, x, w)[1](dy)

        axes = tuple(0 if m else None for m in self.mapped)
        values, pull = jax.vjp(jax.vmap(call, axes), x, w)
        return [values, *pull(dy), *jax.vmap(gradients, (*axes, 0))(x, w, dy)]

    def found(self, ops: Any, dtype: str) -> list[np.ndarray]:
        """What the compiled program gives."""
        arrays = [jnp.asarray(a, dtype) for a in (*self.arrays, self.dy)]
        return [np.asarray(a) for a in jax.jit(partial(self.run, ops))(*arrays)]
