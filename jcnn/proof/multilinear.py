"""A bilinear rule of one's own against its reference, with ``==``, on whole numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jcnn.proof.comparison import Row, Tolerance, compare
from jcnn.proof.whole_numbers import EXACT_BELOW, TooLargeError

Flat = Callable[..., jax.Array]
EQUAL = Tolerance(rtol=0, atol=0)
_NESTED = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_LOOPS = ("scan", "while", "cond")


class NotLinearError(ValueError):
    """The reference is not linear in one of its arguments."""


def exact_rows(
    function: Flat, reference: Flat, free: Sequence[Any], labels: Sequence[str], *, seed: int
) -> list[Row]:
    """Compare value and gradients on whole numbers, element by element, with ``==``.

    Args:
        function: Under test: arrays to one flat array, in the dtype of ``free``, compiled.
        reference: The same in plain JAX: evaluated in float64, where whole numbers are exact.
        free: Arrays, of which shapes and dtypes count alone.
        labels: A name for each.
        seed: For the numbers.

    Raises:
        NotLinearError: The reference is not linear in each of its arguments.
        TooLargeError: No range of whole numbers keeps every partial sum exact.
    """
    generator = np.random.default_rng(seed)
    shapes = [a.shape for a in free]
    output = jax.eval_shape(reference, *free).shape
    reach = _reach(reference, output, shapes, str(jnp.result_type(*free)))

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        return generator.integers(-reach, reach + 1, shape)

    _assert_linear(reference, [draw(s) for s in shapes], [draw(s) for s in shapes], labels)
    drawn = [draw(shape) for shape in (output, *shapes)]
    found, expected = (
        [np.asarray(a) for a in jax.jit(_with_gradients(f))(*(a.astype(t) for a in drawn))]
        for f, t in ((function, free[0].dtype), (reference, np.float64))
    )
    return [
        compare(name, "whole numbers", f, e, EQUAL)
        for name, f, e in zip(("output", *labels), found, expected, strict=True)
    ]


def _with_gradients(f: Flat) -> Callable[..., tuple[jax.Array, ...]]:
    def run(dy: jax.Array, *x: jax.Array) -> tuple[jax.Array, ...]:
        y, pull = jax.vjp(lambda *x: f(*x).astype(dy.dtype), *x)
        return y, *pull(dy)

    return run


def _reach(f: Flat, output: tuple[int, ...], shapes: list[tuple[int, ...]], dtype: str) -> int:
    """The largest s for which no partial sum of products of numbers up to s leaves the exact range.

    The sum of the terms' magnitudes is what the reference gives where every number is 1, every
    constant and every difference of two replaced by magnitudes and sum.
    """
    ones = [jnp.ones(shape, jnp.float64) for shape in (output, *shapes)]
    closed = jax.make_jaxpr(_with_gradients(f))(*ones)
    sums = _magnitudes(closed.jaxpr, closed.consts, ones)
    terms = max(float(jnp.max(a)) if a.size else 1.0 for a in sums)
    reach = int(((EXACT_BELOW[dtype] - 1) / max(terms, 1.0)) ** (1 / len(shapes)))
    if reach < 1:
        raise TooLargeError(
            f"check_rule: {terms:,.0f} terms per element are too many for sums of whole numbers to "
            f"be exact in {dtype}; give smaller arrays"
        )
    return reach


def _magnitudes(jaxpr: core.Jaxpr, consts: Sequence[Any], args: Sequence[Any]) -> list[jax.Array]:
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, map(_magnitude, consts), strict=True))
    values |= dict(zip(jaxpr.invars, args, strict=True))

    def read(v: Any) -> Any:
        return _magnitude(v.val) if isinstance(v, core.Literal) else values[v]

    for equation in jaxpr.eqns:
        inputs = [read(v) for v in equation.invars]
        results = _evaluate(equation, inputs)
        values |= dict(zip(equation.outvars, results, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _evaluate(equation: Any, inputs: list[Any]) -> Sequence[Any]:
    name, params = equation.primitive.name, equation.params
    if name in _LOOPS:
        raise NotLinearError(f"check_rule: exact=True can't look into the reference's '{name}'")
    for key in _NESTED:
        if key in params:
            inner: Any = params[key]
            return _magnitudes(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), inputs)
    if name == "neg":
        return inputs
    primitive = jax.lax.add_p if name == "sub" else equation.primitive
    results = primitive.bind(*inputs, **({} if name == "sub" else params))
    return results if equation.primitive.multiple_results else [results]


def _magnitude(a: Any) -> Any:
    return abs(a) if jnp.issubdtype(jnp.result_type(a), jnp.floating) else a


def _assert_linear(
    f: Flat, first: list[np.ndarray], second: list[np.ndarray], labels: Sequence[str]
) -> None:
    """f(a + b) - f(b) = f(a) - f(0) in each argument alone, the others being what they are."""
    run = jax.jit(f)
    for i, label in enumerate(labels):

        def along(a: np.ndarray, i: int = i) -> np.ndarray:
            whole = [*first[:i], a, *first[i + 1 :]]
            return np.asarray(run(*(b.astype(np.float64) for b in whole)))

        a, b = first[i], second[i]
        if not np.array_equal(along(a + b) - along(b), along(a) - along(np.zeros_like(a))):
            raise NotLinearError(
                f"check_rule: exact=True needs a reference that is linear in each argument, and "
                f"it is not linear in {label}"
            )
