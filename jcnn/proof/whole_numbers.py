"""One operation on drawn whole numbers: from what range, and what it should give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isqrt, prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcnn.lowering import Geometry, noted
from jcnn.lowering.policy import Policy
from jcnn.proof.bounds import BFLOAT16, FLOAT32, UNIT, winograd_bound
from jcnn.proof.oracle import Formula, formula
from jcnn.proof.recording import Call

# Below this every whole number, and so every sum of them, is exact. Sums of half precision run in
# float32; what is rounded to it once is compared with the right number, rounded once.
EXACT_BELOW = {"float16": 2**15, "bfloat16": 2**24, "float32": 2**24, "float64": 2**53}
REPRESENTABLE = {"float16": 2**11, "bfloat16": 2**8, "float32": 2**24, "float64": 2**53}
# In half precision each part of a second derivative is rounded.
DIFFERENTIATED_TWICE = ("float32", "float64")
# Of few numbers selections tie often, and what minimal filtering rounds stays far below one half.
FEW = 3
NEAREST = 0.499
# What it is of which elements are compared, for whoever reads that they are right.
SUMS = "sums of products, compared with =="
SELECTIONS = "selections, compared with == where numbers tie and where they differ"
HALVES = "sums of products in half precision, compared with == as they are rounded to it"
NEAREST_ONE = "within the bound of minimal filtering, and nearest to the right whole number"
DIVIDED = "within the bound of a division's roundings"
# The lowerings that round whole numbers: minimal filtering.
FILTERING = ("winograd", "fold_winograd", "native_winograd", "fold_native_winograd")

# The member of the triple that gives y, dx and dw.
_TRIPLE = {
    "correlate": ("correlate", "input_gradient", "kernel_gradient"),
    "convolve_transpose": ("input_gradient", "correlate", "kernel_gradient"),
}
_TRIPLE["convolve"] = _TRIPLE["correlate"]
Notes = Sequence[tuple[str, Geometry, str]]


class TooLargeError(ValueError):
    """No range of whole numbers keeps every partial sum exact."""


@dataclass(frozen=True)
class Problem:
    """One call on drawn whole numbers: the function under test, and what it should give."""

    call: Call
    function: Callable[..., jax.Array]
    formula: Formula
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtype: str
    filters: bool

    @property
    def order_two(self) -> bool:
        """Whether second derivatives are compared."""
        return self.dtype in DIFFERENTIATED_TWICE

    @property
    def reach(self) -> int:
        """s: the largest number drawn, before multiplication by the formula's multiple."""
        f, limit = self.formula, EXACT_BELOW[self.dtype] - 1
        products = f.kind == "bilinear"
        terms = f.terms * (2 if products and self.order_two else 1) * f.multiple
        s = isqrt(limit // terms) if products else limit // terms
        if "b" in self.names and not self.order_two:
            s = min(s, isqrt((REPRESENTABLE[self.dtype] - 1) // terms))
        s = min(s, REPRESENTABLE[self.dtype] // f.multiple)
        if s < 1:
            raise TooLargeError(
                f"{self.call.op}: {f.terms:,} terms per element are too many for sums of whole "
                f"numbers to be exact in {self.dtype}; take a smaller batch or image"
            )
        return min(s, FEW) if f.kind == "selecting" or self.filters else s

    def shown(self, equal: bool) -> str:
        """What elements that are right have been shown to be, which ``equal`` were equal."""
        if not equal:
            return DIVIDED if self.formula.roundings else NEAREST_ONE
        if self.formula.kind == "selecting":
            return SELECTIONS
        return SUMS if self.order_two else HALVES

    def chance(self, equal: bool, draws: int) -> float | None:
        """With what probability an element that adds wrong products passes, at most.

        None where a wrong element need not differ by a polynomial, as selections don't, or may by
        less than what is tolerated or rounded away.
        """
        if self.shown(equal) != SUMS:
            return None
        degree = 2 if self.formula.kind == "bilinear" else 1
        return min(1.0, degree / (2 * self.reach + 1)) ** draws

    def draws(self, generator: np.random.Generator, count: int) -> list[list[np.ndarray]]:
        """Draw ``count`` times; of a selection, whose ties these may miss, three times more."""
        drawn = [self.draw(generator) for _ in range(count)]
        if self.formula.kind == "selecting":
            drawn += self._selected(generator)
        return drawn

    def draw(self, generator: np.random.Generator) -> list[np.ndarray]:
        """Draw dy, the arguments, and a direction v for each: whole numbers."""
        return [
            self.formula.multiple * generator.integers(-self.reach, self.reach + 1, shape)
            for shape in (self._output(), *self.shapes, *self.shapes)
        ]

    def _selected(self, generator: np.random.Generator) -> Iterator[list[np.ndarray]]:
        """Draw where all numbers tie, at the kink and above it, and where none do.

        No cotangent is zero and directions differ, which tells the places apart that they come to.
        """
        (shape,) = self.shapes
        zeros, ones = np.zeros(shape, np.int64), np.ones(shape, np.int64)
        for x in (zeros, ones, self._different(generator, shape)):
            dy = generator.integers(1, self.reach + 1, self._output())
            yield [dy, x, self._different(generator, shape)]

    def _different(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Numbers that all differ, as far as the dtype has so many."""
        count, most = prod(shape), REPRESENTABLE[self.dtype]
        numbers = generator.permutation(count) % (2 * most + 1)
        return (numbers - min(count // 2, most)).reshape(shape)

    def _output(self) -> tuple[int, ...]:
        return jax.eval_shape(self.function, *self._placeholders()).shape

    def _placeholders(self) -> list[jax.ShapeDtypeStruct]:
        return [jax.ShapeDtypeStruct(shape, self.dtype) for shape in self.shapes]

    def cast(self, a: np.ndarray) -> np.ndarray:
        """The whole numbers as an array of the dtype under test, rounded once."""
        return a.astype(np.float64).astype(jnp.dtype(self.dtype))

    def expected(self, order: int, dy: np.ndarray, *arrays: np.ndarray) -> dict[str, np.ndarray]:
        """What the oracle says of the value and gradients, or of the second derivatives."""
        x, v, f = arrays[: len(self.names)], arrays[len(self.names) :], self.formula
        if order == 1:
            return {"y": f.value(*x), **self._named("d", f.pullback(dy, *x))}
        return {
            "second order dy": f.tangent(v, *x),
            **self._named("second order d", f.curvature(dy, v, *x)),
        }

    def lowerings(self, tensor: str, notes: Notes) -> tuple[str, ...]:
        """Which lowerings the correlations took that give a tensor."""
        wanted = self._correlation(tensor)
        return tuple(sorted({name for operation, _, name in notes if operation == wanted}))

    def _correlation(self, tensor: str) -> str | None:
        """The member of the triple that gives a tensor."""
        if self.call.op not in _TRIPLE:
            return None
        order = tensor.removeprefix("second order ")
        place = {"y": 0, "dy": 0, "dx": 1, "dw": 2}.get(order)
        return None if place is None else _TRIPLE[self.call.op][place]

    def evidence(self, equal: bool) -> str:
        """What a comparison of this kind is."""
        return "==" if equal else "bound" if self.formula.roundings else "nearest"

    def bounds(
        self,
        expected: dict[str, np.ndarray],
        notes: Notes,
        dy: np.ndarray,
        *arrays: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """How far each element of what isn't exact may be off, by tensor."""
        if self.formula.roundings:
            order = 1 if "y" in expected else 2
            magnitudes = self.expected(order, np.abs(dy), *map(np.abs, arrays))
            unit = self.formula.roundings * float(jnp.finfo(self.dtype).eps) / 2
            return {tensor: unit * magnitude for tensor, magnitude in magnitudes.items()}
        if not self.filters:
            return {}
        copies = self.formula.window.copies if self.formula.window else 1
        added = (1 + copies) * UNIT
        found = {tensor: self._filtering(tensor, notes, dy, *arrays) for tensor in expected}
        return {
            # A bias, a second term, or a copy's gradient, is added with a rounding of its own.
            tensor: np.minimum(NEAREST, bound + added * (bound + np.abs(expected[tensor])))
            for tensor, bound in found.items()
            if bound is not None
        }

    def _filtering(
        self, tensor: str, notes: Notes, dy: np.ndarray, *arrays: np.ndarray
    ) -> np.ndarray | None:
        """Bound what minimal filtering rounds of a tensor; None where it had no part in it."""
        wanted = self._correlation(tensor)
        met = [g for op, g, name in notes if op == wanted and name in FILTERING]
        if not met:
            return None
        x, w, v = arrays[0], arrays[1], arrays[len(self.names) :]
        pairs = {
            "y": [(x, w)], "dx": [(dy, w)], "dw": [(x, dy)],
            "second order dy": [(v[0], w), (x, v[1])],
            "second order dx": [(dy, v[1])], "second order dw": [(v[0], dy)],
        }[tensor]  # fmt: skip
        return np.sum([self._bound(str(wanted), *pair) for pair in pairs], axis=0)

    def _bound(self, operation: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The bound of one correlation, in the order of arguments that the operation has."""
        assert self.formula.window is not None
        at = self.formula.window
        groups = dict(self.call.statics).get("groups", 1)
        turn = self.formula.kernel
        if operation == "kernel_gradient" and self.call.op == "convolve_transpose":
            a, b = b, a
        padding, bordered = at.padding, at.fill != "ZEROS" or min(map(min, at.padding)) < 0
        if bordered:  # no lowering meets such padding: the input holds it
            padding = ((0, 0),) * len(at.size)
            a = a if operation == "input_gradient" else at.pad(a)
        size = at.zeros(0, 0).shape[1:-1] if bordered else at.size
        g = Geometry(size, at.window, at.strides, padding, at.dilation, groups)
        how = BFLOAT16 if Policy.current().rounded else FLOAT32
        if operation == "kernel_gradient":
            return turn(winograd_bound(operation, g, a, b, how))
        bound = winograd_bound(operation, g, a, turn(b), how)
        return at.crop(bound) if bordered and operation == "input_gradient" else bound

    def _named(self, prefix: str, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        return {f"{prefix}{name}": a for name, a in zip(self.names, arrays, strict=True)}


def problem_of(call: Call, ops: Any) -> Problem:
    """Tell apart what is drawn, keys and options of a call, and find its formula."""
    free = [(name, shape) for name, shape, dtype in call.arrays if is_floating(dtype)]
    keys = {name: jax.random.key(7) for name, _, dtype in call.arrays if not is_floating(dtype)}
    names, shapes = zip(*free, strict=True)
    options = dict(call.statics)
    op = getattr(ops, call.op)

    def function(*arrays: jax.Array) -> jax.Array:
        return op(**dict(zip(names, arrays, strict=True)), **keys, **options)

    of_call = formula(call.op, shapes, {**options, **keys})
    dtype = call.arrays[0][2]
    return Problem(call, function, of_call, names, shapes, dtype, _filters(function, shapes, dtype))


def _filters(function: Callable[..., jax.Array], shapes: Any, dtype: str) -> bool:
    """Whether minimal filtering has a part in the value or in a gradient."""

    def pulled(*x: jax.Array) -> Any:
        y, pull = jax.vjp(function, *x)
        return y, pull(y)

    with noted() as notes:
        jax.jit(pulled).lower(*(jax.ShapeDtypeStruct(shape, dtype) for shape in shapes))
    return any(name in FILTERING for _, _, name in notes)


def is_floating(dtype: str) -> bool:
    """Whether an array of this dtype is drawn, and not a key."""
    return "float" in dtype
