"""The closed forms that docstrings state for nonlinear gradients, against SymPy's derivatives.

Each form is written here as in its docstring, on symbols: a few classes, elements or channels. Two
steps make the proof:

- the form is the derivative: SymPy differentiates the value, and the difference of the two is
  zero for all numbers, cotangents and hyperparameters;
- the program is the form: value and pullback of the operation in float64 agree with value and form
  at random rational points to 1e-12.

The first step is exact, the second is not; and what holds for three classes or elements is proved
for three. The operations' other tests run at larger sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from jcnn import ops

Symbols = list[Any]


@dataclass(frozen=True)
class Form:
    """An operation's value and gradients in symbols.

    Attributes:
        op: From the arguments and the numbers to one array or several.
        shapes: Of each argument, in order.
        outputs: Of each output.
        formula: (arguments, numbers) to the outputs' elements, one list per output.
        closed: (arguments, numbers, cotangents) to each differentiated argument's gradient.
        numbers: Hyperparameters by name, symbols in the proof, values in the program.
        positive: Which arguments must be positive.
    """

    op: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    formula: Callable[..., list[Symbols]]
    closed: Callable[..., list[Symbols]]
    numbers: dict[str, float] = field(default_factory=dict)
    positive: tuple[int, ...] = ()

    def arguments(self) -> list[Symbols]:
        return [
            _symbols("abcde"[i], shape, positive=i in self.positive)
            for i, shape in enumerate(self.shapes)
        ]

    def cotangents(self) -> list[Symbols]:
        return [_symbols(f"delta{i}_", shape) for i, shape in enumerate(self.outputs)]

    def symbolic_numbers(self) -> dict[str, Any]:
        return {name: sympy.Symbol(name, positive=True) for name in self.numbers}


def _symbols(name: str, shape: tuple[int, ...], positive: bool = False) -> Symbols:
    kind = {"positive": True} if positive else {"real": True}
    return [sympy.Symbol(f"{name}{i}", **kind) for i in range(prod(shape))]


def _dot(a: Symbols, b: Symbols) -> Any:
    return sum((x * y for x, y in zip(a, b, strict=True)), sympy.Integer(0))


def _sigma(a: Any) -> Any:
    return 1 / (1 + sympy.exp(-a))


def _below(a: Any) -> Any:
    """Φ(a), the chance that a normal number is smaller."""
    return (1 + sympy.erf(a / sympy.sqrt(2))) / 2


def _gelu_closed(a, n, dy):
    def slope(x):
        return _below(x) + x * sympy.exp(-(x**2) / 2) / sympy.sqrt(2 * sympy.pi)

    return [[d * slope(x) for d, x in zip(dy[0], a[0], strict=True)]]


def _softmax(a: Symbols) -> Symbols:
    return [sympy.exp(x) / sum(map(sympy.exp, a)) for x in a]


def _elementwise(op: Any, f: Any, slope: Any, **numbers: float) -> Form:
    """z = f(a), and delta times ``slope`` of the output z."""
    return Form(
        op, ((2,),), ((2,),),
        lambda a, n: [[f(x, **n) for x in a[0]]],
        lambda a, n, dy: [[d * slope(f(x, **n), **n) for d, x in zip(dy[0], a[0], strict=True)]],
        numbers,
    )  # fmt: skip


def _square_error(a, n):
    g, y = a
    return [[_dot(*2 * [[u - v for u, v in zip(g, y, strict=True)]]) / len(g)]]


def _square_error_closed(a, n, dl):
    dg = [dl[0][0] * sympy.Rational(2, len(a[0])) * (u - v) for u, v in zip(*a, strict=True)]
    return [dg, [-d for d in dg]]


def _binary(a, n):
    terms = (
        -y * sympy.log(_sigma(x)) - (1 - y) * sympy.log(1 - _sigma(x))
        for x, y in zip(*a, strict=True)
    )
    return [[sum(terms) / len(a[0])]]


def _binary_closed(a, n, dl):
    share = dl[0][0] / len(a[0])
    return [
        [share * (_sigma(x) - y) for x, y in zip(*a, strict=True)],
        [-share * x for x in a[0]],
    ]


def _smoothed(y, epsilon):
    return [(1 - epsilon) * v + epsilon / len(y) for v in y]


def _cross_entropy(a, n):
    logs = map(sympy.log, _softmax(a[0]))
    return [[-_dot(_smoothed(a[1], n["epsilon"]), list(logs))]]


def _cross_entropy_closed(a, n, dl):
    p, z = _smoothed(a[1], n["epsilon"]), _softmax(a[0])
    return [
        [dl[0][0] * (x * sum(p) - q) for x, q in zip(z, p, strict=True)],
        [-dl[0][0] * (1 - n["epsilon"]) * sympy.log(x) for x in z],
    ]


def _one_hot(a, n):
    return _cross_entropy([a[0], [0, 1, 0]], n)


def _one_hot_closed(a, n, dl):
    return _cross_entropy_closed([a[0], [0, 1, 0]], n, dl)[:1]


def _softmax_closed(a, n, dy):
    z = _softmax(a[0])
    return [[x * (d - _dot(dy[0], z)) for x, d in zip(z, dy[0], strict=True)]]


def _moments(x):
    mean = sum(x) / len(x)
    return mean, sum((v - mean) ** 2 for v in x) / len(x)


def _batch_norm(a, n):
    x, (scale,), (offset,) = a
    mean, v = _moments(x)
    return [
        [scale * (u - mean) / sympy.sqrt(v + n["epsilon"]) + offset for u in x],
        [mean],
        [v],
    ]


def _batch_norm_closed(a, n, cotangents):
    x, (scale,), _ = a
    dy, (dmean,), (dv,) = cotangents
    (mean, v), m = _moments(x), len(x)
    root = sympy.sqrt(v + n["epsilon"])
    hat = [(u - mean) / root for u in x]
    dx = [
        scale / (m * root) * (m * d - sum(dy) - h * _dot(dy, hat))
        + dmean / m
        + sympy.Rational(2, m) * (u - mean) * dv
        for u, d, h in zip(x, dy, hat, strict=True)
    ]
    return [dx, [_dot(dy, hat)], [sum(dy)]]


def _inference(a, n):
    x, (scale,), (offset,), (mean,), (v,) = a
    return [[scale * (u - mean) / sympy.sqrt(v + n["epsilon"]) + offset for u in x]]


def _inference_closed(a, n, cotangents):
    x, (scale,), _, (mean,), (v,) = a
    dy, r = cotangents[0], (v + n["epsilon"]) ** sympy.Rational(-1, 2)
    centred = _dot(dy, [u - mean for u in x])
    return [
        [scale * r * d for d in dy],
        [r * centred],
        [sum(dy)],
        [-scale * r * sum(dy)],
        [-scale * r**3 * centred / 2],
    ]


def _neighbourhood(c, channels, size):
    return [k for k in range(c - (size - 1) // 2, c + size // 2 + 1) if 0 <= k < channels]


def _sums(x, n, size):
    return [
        n["offset"] + n["scale"] * sum(x[k] ** 2 for k in _neighbourhood(c, len(x), size))
        for c in range(len(x))
    ]


def _response_norm(size, a, n):
    (x,) = a
    return [[u * s ** -n["power"] for u, s in zip(x, _sums(x, n, size), strict=True)]]


def _response_norm_closed(size, a, n, cotangents):
    (x,), (dy,), beta = a, cotangents, n["power"]
    s, channels = _sums(x, n, size), range(len(x))
    return [[
        dy[c] * s[c] ** -beta
        - 2 * n["scale"] * beta * x[c]
        * sum(dy[k] * x[k] * s[k] ** (-beta - 1) for k in channels
              if c in _neighbourhood(k, len(x), size))
        for c in channels
    ]]  # fmt: skip


def _norm_of(size):
    return Form(
        partial(ops.local_response_norm, size=size), ((3,),), ((3,),),
        partial(_response_norm, size), partial(_response_norm_closed, size),
        {"offset": 1.5, "scale": 0.25, "power": 0.75},
    )  # fmt: skip


def _cross_entropy_op(a, *labels, epsilon):
    labels = labels[0] if labels else jnp.array([1])
    return ops.softmax_cross_entropy(a, labels, label_smoothing=epsilon)


ONE, THREE = (1,), (1, 3)
EPSILON = {"epsilon": 0.125}
FORMS = {
    "sigmoid": _elementwise(ops.sigmoid, _sigma, lambda z: z * (1 - z)),
    "tanh": _elementwise(ops.tanh, sympy.tanh, lambda z: 1 - z**2),
    "scaled_tanh": _elementwise(
        ops.scaled_tanh,
        lambda a, amplitude, rate: amplitude * sympy.tanh(rate * a),
        lambda z, amplitude, rate: rate * (amplitude - z**2 / amplitude),
        amplitude=1.75,
        rate=0.625,
    ),
    "gelu": Form(ops.gelu, ((2,),), ((2,),), lambda a, n: [[x * _below(x) for x in a[0]]],
                 _gelu_closed),
    "softmax": Form(ops.softmax, (THREE,), (THREE,), lambda a, n: [_softmax(a[0])],
                    _softmax_closed),
    "mean_squared_error": Form(ops.mean_squared_error, (THREE, THREE), (ONE,), _square_error,
                               _square_error_closed),
    "binary_cross_entropy": Form(ops.binary_cross_entropy, ((1, 2), (1, 2)), (ONE,), _binary,
                                 _binary_closed),
    "softmax_cross_entropy of classes": Form(_cross_entropy_op, (THREE,), (ONE,), _one_hot,
                                             _one_hot_closed, EPSILON),
    "softmax_cross_entropy of distributions": Form(
        _cross_entropy_op, (THREE, THREE), (ONE,), _cross_entropy, _cross_entropy_closed, EPSILON
    ),
    "batch_norm": Form(ops.batch_norm, ((3, 1), ONE, ONE), ((3, 1), ONE, ONE), _batch_norm,
                       _batch_norm_closed, EPSILON),
    "batch_norm_inference": Form(ops.batch_norm_inference, ((2, 1), ONE, ONE, ONE, ONE), ((2, 1),),
                                 _inference, _inference_closed, EPSILON, positive=(4,)),
    "local_response_norm of 2": _norm_of(2),
    "local_response_norm of 3": _norm_of(3),
}  # fmt: skip


def vanishes(residual: Any) -> bool:
    """Whether an expression is zero for all values of its symbols.

    Logarithms of products are taken apart, and powers whose exponent is a symbol become symbols
    themselves: what is left is rational in those and in exponentials, and its numerator is zero.
    """
    residual = residual.rewrite(sympy.exp).replace(sympy.log, _logarithm)
    residual = residual.replace(
        lambda e: e.is_Pow and e.exp.free_symbols and e.base is not sympy.E, _power
    )
    numerator = sympy.expand(sympy.numer(sympy.together(residual)))
    return numerator == 0 or sympy.simplify(numerator) == 0


def _logarithm(a: Any) -> Any:
    return sympy.expand_log(sympy.log(sympy.factor(sympy.together(a))), force=True)


def _power(power: Any) -> Any:
    """base^(k + rest) as base^k times a symbol for base^rest."""
    whole, rest = power.exp.as_coeff_Add()
    return power.base**whole * sympy.Symbol(f"({power.base})^({rest})", positive=True)


def residuals(form: Form) -> list[Any]:
    """SymPy's derivative less the closed form, for each element of each argument."""
    arguments, numbers, cotangents = form.arguments(), form.symbolic_numbers(), form.cotangents()
    outputs = form.formula(arguments, numbers)
    loss = sum((_dot(d, y) for d, y in zip(cotangents, outputs, strict=True)), sympy.Integer(0))
    gradients = form.closed(arguments, numbers, cotangents)
    return [
        sympy.diff(loss, symbol) - gradient
        for a, of_a in zip(arguments, gradients, strict=True)
        for symbol, gradient in zip(a, of_a, strict=True)
    ]


@pytest.mark.parametrize("name", FORMS)
def test_the_closed_form_is_the_derivative(name):
    for residual in residuals(FORMS[name]):
        assert vanishes(residual), sympy.simplify(residual)


def evaluated(expressions: list[Symbols], at: dict[Any, float]) -> list[list[float]]:
    """To 30 digits, so that the formula's own cancellation is not counted."""
    return [[float(sympy.N(e, 30, subs=at)) for e in part] for part in expressions]


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", FORMS)
def test_the_program_is_the_closed_form(name):
    form, rng = FORMS[name], np.random.default_rng(0)
    arguments, numbers, cotangents = form.arguments(), form.symbolic_numbers(), form.cotangents()
    for _ in range(3):
        at = {
            symbol: sympy.Rational(int(rng.integers(-96, 97)), 32)
            for symbol in chain(*arguments, *cotangents)
        }
        at |= {s: abs(at[s]) + 1 for i in form.positive for s in arguments[i]}
        at |= {numbers[n]: sympy.Rational(value) for n, value in form.numbers.items()}
        a, dy = (
            [jnp.array([float(at[s]) for s in part]).reshape(shape) for part, shape in
             zip(parts, shapes, strict=True)]
            for parts, shapes in ((arguments, form.shapes), (cotangents, form.outputs))
        )  # fmt: skip
        y, pullback = jax.vjp(partial(form.op, **form.numbers), *a)
        gradients = pullback(tuple(dy) if isinstance(y, tuple) else dy[0])
        expected = evaluated(form.formula(arguments, numbers), at)
        expected += evaluated(form.closed(arguments, numbers, cotangents), at)
        for found, right in zip([*jax.tree.leaves(y), *gradients], expected, strict=True):
            np.testing.assert_allclose(found.ravel(), right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", FORMS)
def test_a_form_that_is_off_by_a_thousandth_does_not_vanish(name):
    form = FORMS[name]
    arguments, numbers, cotangents = form.arguments(), form.symbolic_numbers(), form.cotangents()
    first = form.closed(arguments, numbers, cotangents)[0][0]
    assert not vanishes(residuals(form)[0] + first / 1000)
