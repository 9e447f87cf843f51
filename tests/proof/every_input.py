"""One-argument operations and their derivatives, on every number that a dtype has.

Errors are counted in units of the last place (ulp): of the right result where that is what rounds,
and of 1 for derivatives that are differences from 1, such as z (1 - z), whose lecture formula keeps
the rounded output z and so can't be closer than z is. Results below the smallest normal number may
be flushed to zero, and so may what an input below four times that gives on the way, as XLA's CPU
backend does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcnn import ops

Real = Callable[[np.ndarray], np.ndarray]
SLOPE = 0.25
AMPLITUDE, RATE = 1.7159, 2 / 3


@dataclass(frozen=True)
class Function:
    """An operation of one argument, and what it is in real numbers.

    Attributes:
        op: The operation under test.
        value: Its value.
        derivative: Its derivative.
        from_one: Whether errors of the derivative are counted in ulp of 1.
        infinite: Whether it is defined at infinity.
        passes_nan: Whether NaN gives NaN.
    """

    op: Callable[[jax.Array], jax.Array]
    value: Real
    derivative: Real
    from_one: bool = False
    infinite: bool = True
    passes_nan: bool = True


def _sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def _softplus(a: np.ndarray) -> np.ndarray:
    return np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a)))


FUNCTIONS: dict[str, Function] = {
    "relu": Function(ops.relu, lambda a: np.maximum(a, 0), lambda a: np.where(a > 0, 1.0, 0.0)),
    "leaky_relu": Function(
        lambda a: ops.leaky_relu(a, SLOPE),
        lambda a: np.where(a > 0, a, SLOPE * a),
        lambda a: np.where(a > 0, 1, SLOPE),
    ),
    "prelu": Function(
        lambda a: ops.prelu(a, jnp.asarray(SLOPE, a.dtype)),
        lambda a: np.where(a > 0, a, SLOPE * a),
        lambda a: np.where(a > 0, 1, SLOPE),
    ),
    "sigmoid": Function(
        ops.sigmoid, _sigmoid, lambda a: np.exp(-np.abs(a)) / (1 + np.exp(-np.abs(a))) ** 2, True
    ),
    "tanh": Function(ops.tanh, np.tanh, lambda a: 1 - np.tanh(a) ** 2, True),
    "scaled_tanh": Function(
        ops.scaled_tanh,
        lambda a: AMPLITUDE * np.tanh(RATE * a),
        lambda a: AMPLITUDE * RATE * (1 - np.tanh(RATE * a) ** 2),
        True,
    ),
    "unit_step": Function(
        ops.unit_step,
        lambda a: np.where(a > 0, 1.0, 0.0),
        lambda a: np.zeros_like(a),
        passes_nan=False,
    ),
    "signum": Function(ops.signum, np.sign, lambda a: np.zeros_like(a)),
    "binary_cross_entropy, target 0": Function(
        lambda a: ops.binary_cross_entropy(a, jnp.zeros_like(a)), _softplus, _sigmoid, True, False
    ),
    "binary_cross_entropy, target 1": Function(
        lambda a: ops.binary_cross_entropy(a, jnp.ones_like(a)),
        lambda a: _softplus(-a),
        lambda a: _sigmoid(a) - 1,
        True,
        False,
    ),
}


@dataclass(frozen=True)
class Worst:
    """The largest error found, in ulp, and the input where it was found."""

    ulp: float
    at: float

    def or_worse(self, other: Worst) -> Worst:
        """Return the larger of two errors."""
        return other if other.ulp > self.ulp else self


def every(dtype: Any, chunk: int = 1 << 20) -> Iterator[np.ndarray]:
    """All values of a dtype, NaN among them, in chunks of as many."""
    dtype = jnp.dtype(dtype)
    bits = np.dtype(f"uint{8 * dtype.itemsize}")
    count = 1 << (8 * dtype.itemsize)
    for start in range(0, count, chunk):
        stop = min(start + chunk, count)
        yield np.arange(start, stop, dtype=np.uint64).astype(bits).view(dtype)


def program(function: Function) -> Callable[[np.ndarray], tuple[jax.Array, jax.Array]]:
    """The compiled value and derivative."""

    def run(a: jax.Array) -> tuple[jax.Array, jax.Array]:
        y, pull = jax.vjp(function.op, a)
        return y, pull(jnp.ones_like(y))[0]

    return jax.jit(run)


def errors(
    function: Function, run: Callable[[np.ndarray], Any], a: np.ndarray
) -> tuple[Worst, Worst]:
    """The largest error of the value, and of the derivative, over an array of inputs."""
    found = [np.asarray(b) for b in run(a)]
    with np.errstate(all="ignore"):  # NaN of every kind, and overflow
        nan = np.isnan(a)
        if function.passes_nan:
            assert np.isnan(found[0][nan]).all(), "NaN gives NaN"
        kept = ~nan if function.infinite else np.isfinite(a)
        inputs = a[kept].astype(np.float64)
        value, derivative = (
            _worst(function, part, a[kept], inputs, b[kept])
            for part, b in zip(("value", "derivative"), found, strict=True)
        )
    return value, derivative


def _worst(
    function: Function, part: str, a: np.ndarray, inputs: np.ndarray, found: np.ndarray
) -> Worst:
    if not a.size:
        return Worst(0.0, 0.0)
    of_one = part == "derivative" and function.from_one
    real: Real = getattr(function, part)
    error = _error(real(inputs), found, of_one)
    tiny = float(jnp.finfo(a.dtype).smallest_normal)
    below = np.abs(inputs) < 4 * tiny
    if below.any():
        near = np.abs(real(inputs[below]) - found[below].astype(np.float64)) < 4 * tiny
        zero = _error(real(np.zeros_like(inputs[below])), found[below], of_one)
        error[below] = np.where(near, 0, np.minimum(error[below], zero))
    at = int(np.argmax(error))
    return Worst(float(error[at]), float(inputs[at]))


def _error(exact: np.ndarray, found: np.ndarray, of_one: bool) -> np.ndarray:
    """In ulp; infinite where found is NaN, or infinite where it should not be."""
    limits = jnp.finfo(found.dtype)
    tiny, largest, eps = (float(x) for x in (limits.smallest_normal, limits.max, limits.eps))
    wide = found.astype(np.float64)
    size = np.ones_like(exact) if of_one else np.clip(np.abs(exact), tiny, largest)
    error = np.abs(wide - exact) / np.ldexp(eps, np.frexp(size)[1] - 1)
    overflows = (np.abs(exact) > largest * (1 + eps / 4)) & (np.abs(wide) == np.inf)
    error[(wide == exact) | overflows | ((np.abs(exact) < tiny) & (np.abs(wide) <= tiny))] = 0
    error[np.isnan(error)] = np.inf
    return error
