"""A bilinear rule of one's own against its reference, with ``==``, on whole numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jcnn.proof.comparison import Row, Tolerance, compare
from jcnn.proof.whole_numbers import EXACT_BELOW, REPRESENTABLE, TooLargeError

Flat = Callable[..., jax.Array]
EQUAL = Tolerance(rtol=0, atol=0)
_NESTED = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_LOOPS = ("scan", "while", "cond")


# As near to linear as what float64 rounds in a reference that divides or scales.
_ROUNDING = 1e-9


class NotLinearError(ValueError):
    """The reference is not linear in one of its arguments, or its results are not exact."""


def exact_rows(
    function: Flat, reference: Flat, free: Sequence[Any], labels: Sequence[str], *, seed: int
) -> list[Row]:
    """Compare value and gradients on whole numbers, element by element, with ``==``.

    Args:
        function: Under test: arrays to one flat array, in the dtypes of ``free``, compiled.
        reference: The same in plain JAX: evaluated in float64, where whole numbers are exact.
        free: Arrays, of which shapes and dtypes count alone.
        labels: A name for each.
        seed: For the numbers.

    Raises:
        NotLinearError: The reference is not linear in each of its arguments.
        TooLargeError: No range of whole numbers keeps every partial sum exact.
        TypeError: A dtype has no such range.
    """
    narrow = _narrowest([str(a.dtype) for a in free], labels)
    generator = np.random.default_rng(seed)
    shapes = [a.shape for a in free]
    output = jax.eval_shape(reference, *free).shape
    reach = _reach(reference, output, shapes, narrow)

    def draw(shape: tuple[int, ...], most: int = reach) -> np.ndarray:
        return generator.integers(-most, most + 1, shape)

    half = (reach + 1) // 2  # the sum of two stays within reach
    first, second = ([draw(s, half) for s in shapes] for _ in range(2))
    _assert_linear(reference, first, second, labels, narrow)
    drawn = [draw(shape) for shape in (output, *shapes)]
    own, double = [jnp.dtype(narrow), *(a.dtype for a in free)], [np.float64] * len(drawn)
    found, expected = (
        jax.jit(_with_gradients(f))(*(a.astype(t) for a, t in zip(drawn, kinds, strict=True)))
        for f, kinds in ((function, own), (reference, double))
    )
    _assert_held([np.asarray(e) for e in expected], ("output", *labels), narrow)
    return [
        compare(name, "whole numbers", np.asarray(f), np.asarray(e), EQUAL)
        for name, f, e in zip(("output", *labels), found, expected, strict=True)
    ]


def _narrowest(dtypes: Sequence[str], labels: Sequence[str]) -> str:
    """The dtype that holds the fewest whole numbers."""
    for label, dtype in zip(labels, dtypes, strict=True):
        if dtype not in REPRESENTABLE:
            raise TypeError(
                f"check_rule: exact=True needs {label} to be of one of {', '.join(REPRESENTABLE)}, "
                f"found {dtype}"
            )
    return min(dtypes, key=lambda dtype: REPRESENTABLE[dtype])


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
    sums = map(_magnitude, _magnitudes(closed.jaxpr, closed.consts, ones))
    largest = [float(jnp.max(a)) for a in sums if jnp.size(a)]
    if not np.all(np.isfinite(largest)):
        raise NotLinearError(
            "check_rule: exact=True needs a reference that is linear in each argument, and of "
            "ones it gives what is not finite"
        )
    terms = max(largest, default=1.0)
    # A rule may round every partial sum to its dtype.
    limit = min(EXACT_BELOW[dtype], REPRESENTABLE[dtype])
    reach = int(((limit - 1) / max(terms, 1.0)) ** (1 / len(shapes)))
    if reach < 1:
        raise TooLargeError(
            f"check_rule: {terms:,.0f} terms per element are too many for sums of whole numbers to "
            f"be exact in {dtype}; give smaller arrays"
        )
    return reach


class _Constant(NamedTuple):
    """What depends on no argument, as it is: masks, indices and random numbers among it."""

    value: Any


def _magnitudes(jaxpr: core.Jaxpr, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, map(_constant, consts), strict=True))
    values |= dict(zip(jaxpr.invars, args, strict=True))

    def read(v: Any) -> Any:
        return _Constant(v.val) if isinstance(v, core.Literal) else values[v]

    for equation in jaxpr.eqns:
        inputs = [read(v) for v in equation.invars]
        results = _evaluate(equation, inputs)
        values |= dict(zip(equation.outvars, results, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _evaluate(equation: Any, inputs: list[Any]) -> Sequence[Any]:
    name, params = equation.primitive.name, equation.params
    constant = all(isinstance(a, _Constant) for a in inputs)
    if name in _LOOPS and not constant:
        raise NotLinearError(f"check_rule: exact=True can't look into the reference's '{name}'")
    for key in _NESTED:
        if key in params and name not in _LOOPS:
            inner: Any = params[key]
            return _magnitudes(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), inputs)
    if constant:
        results = equation.primitive.bind(*(a.value for a in inputs), **params)
        return list(map(_Constant, results if equation.primitive.multiple_results else [results]))
    inputs = list(map(_magnitude, inputs))
    if name == "neg":
        return inputs
    primitive = jax.lax.add_p if name == "sub" else equation.primitive
    results = primitive.bind(*inputs, **({} if name == "sub" else params))
    return results if equation.primitive.multiple_results else [results]


def _constant(a: Any) -> Any:
    return a if isinstance(a, _Constant) else _Constant(a)


def _magnitude(a: Any) -> Any:
    """Of a constant, of which only numbers have one; anything else is one already."""
    if not isinstance(a, _Constant):
        return a
    return abs(a.value) if jnp.issubdtype(jnp.result_type(a.value), jnp.floating) else a.value


def _assert_held(expected: Sequence[np.ndarray], names: Sequence[str], narrow: str) -> None:
    """Refuse a reference that gives of whole numbers what the narrow dtype has to round."""
    for name, values in zip(names, expected, strict=True):
        with np.errstate(over="ignore"):
            rounded = values[values.astype(jnp.dtype(narrow)).astype(np.float64) != values]
        if rounded.size:
            raise NotLinearError(
                f"check_rule: exact=True needs a reference whose results of whole numbers {narrow} "
                f"holds, and its {name} has {rounded.flat[0]:.17g}: it divides, or scales by what "
                "is no power of two"
            )


def _assert_linear(
    f: Flat, first: list[np.ndarray], second: list[np.ndarray], labels: Sequence[str], narrow: str
) -> None:
    """f(a + b) - f(b) = f(a) - f(0) in each argument alone, the others being what they are."""
    run = jax.jit(f)
    for i, label in enumerate(labels):

        def along(a: np.ndarray, i: int = i) -> np.ndarray:
            whole = [*first[:i], a, *first[i + 1 :]]
            return np.asarray(run(*(b.astype(np.float64) for b in whole)))

        a, b = first[i], second[i]
        with np.errstate(invalid="ignore", over="ignore"):  # no whole numbers either
            values = along(a + b), along(b), along(a), along(np.zeros_like(a))
            off = np.abs(values[0] - values[1] - values[2] + values[3])
            largest = max(float(np.abs(v).max(initial=0)) for v in values)
        if (off != 0).any():
            if (off <= _ROUNDING * largest).all():  # where rounding explains it, that is said
                _assert_held(values, ["output"] * len(values), narrow)
            raise NotLinearError(
                f"check_rule: exact=True needs a reference that is linear in each argument, and "
                f"it is not linear in {label}"
            )
