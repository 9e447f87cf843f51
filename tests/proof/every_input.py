"""One-argument operations and their derivatives, on every number that a dtype has.

Errors are counted in units of the last place (ulp) of the right result. A derivative whose formula
subtracts can't be closer than the terms that it subtracts are, and the lecture's z (1 - z) and
1 - z^2 take theirs from the rounded output z: there the unit is the last place of the largest term.
Where the right derivative is far smaller than that term, little or nothing of it is left.

GELU's exp(-a²/2) can't be better than its exponent, which is rounded: half a unit of -a²/2 is a²/4
units of the result. Below zero its unit is that of the rounded exponent, where that is larger.

XLA's CPU backend flushes numbers below the smallest normal one to zero, inputs, results and what
comes between. So a result below it may be zero, and an input below four times it may give what
zero gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from jcnn import ops

Pair = tuple[np.ndarray, np.ndarray]
SLOPE = 0.25
AMPLITUDE, RATE = 1.7159, 2 / 3
OFFSET, SCALE, POWER = 2.0, 1e-4, 0.75
TINY = float(jnp.finfo(jnp.float32).tiny)
# So many double-precision numbers, and what is made of them, stay in cache.
BLOCK = 1 << 14
EXPONENT = np.int64(0x7FF) << np.int64(52)


@dataclass(frozen=True)
class Function:
    """An operation of one argument, and what it is in real numbers.

    Attributes:
        op: The operation under test.
        real: Its value and its derivative in float64.
        limits: The most ulp that value and derivative may be off.
        term: The largest term of the derivative's formula, whose ulp its errors are counted in:
            "1", "z" for the output, "Φ, a φ" for the larger of GELU's, or None for the
            derivative itself.
        domain: The largest input that is held to the limits.
        flushed: How many times the smallest normal float32 may be lost, where a factor below it
            was flushed to zero before it was multiplied.
        stretch: How many units of the last place count as one, for each input.
    """

    op: Callable[[jax.Array], jax.Array]
    real: Callable[[np.ndarray], Pair]
    limits: tuple[float, float]
    term: str | None = None
    domain: float = np.inf
    flushed: float = 0.0
    stretch: Callable[[np.ndarray], np.ndarray] | None = None


def _leaky(a: np.ndarray) -> Pair:
    positive = a > 0
    return np.where(positive, a, SLOPE * a), np.where(positive, 1.0, SLOPE)


def _sigmoid(a: np.ndarray) -> Pair:
    e = np.exp(-np.abs(a))
    s = 1 / (1 + e)
    return np.where(a >= 0, s, e * s), e * s * s


def _scaled_tanh(a: np.ndarray) -> Pair:
    z = np.tanh(RATE * a)
    return AMPLITUDE * z, AMPLITUDE * RATE * (1 - z * z)


def _tanh(a: np.ndarray) -> Pair:
    z = np.tanh(a)
    return z, 1 - z * z


def _gelu(a: np.ndarray) -> Pair:
    below = special.ndtr(a)
    inside = np.clip(a, -40, 40)  # beyond, φ is zero in float64 too
    value = np.where(a < -40, 0, a) * below
    return value, below + inside * _density(inside)


def _density(a: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * a * a) / np.sqrt(2 * np.pi)


def _larger_of_gelu(a: np.ndarray) -> np.ndarray:
    inside = np.clip(a, -40, 40)
    return np.maximum(special.ndtr(a), np.abs(inside) * _density(inside))


def _exponent(a: np.ndarray) -> np.ndarray:
    """Units of exp(-a²/2) in one of -a²/2, or one."""
    return np.where(a < 0, np.maximum(1, 0.5 * np.clip(a, -40, 0) ** 2), 1)


def _softplus(a: np.ndarray) -> Pair:
    e = np.exp(-np.abs(a))
    return np.maximum(a, 0) + np.log1p(e), np.where(a >= 0, 1.0, e) / (1 + e)


def _softplus_reversed(a: np.ndarray) -> Pair:
    value, derivative = _softplus(-a)
    return value, -derivative


def _response_norm(a: np.ndarray) -> Pair:
    s = OFFSET + SCALE * a * a
    shrunk = s**-POWER
    return a * shrunk, shrunk * (1 - 2 * SCALE * POWER * a * a / s)


def _nothing(a: np.ndarray) -> np.ndarray:
    return np.zeros_like(a)


FUNCTIONS: dict[str, Function] = {
    "relu": Function(ops.relu, lambda a: (np.maximum(a, 0), (a > 0) * 1.0), (0, 0)),
    "leaky_relu": Function(lambda a: ops.leaky_relu(a, SLOPE), _leaky, (0.5, 0)),
    "prelu": Function(lambda a: ops.prelu(a, jnp.asarray(SLOPE, a.dtype)), _leaky, (0.5, 0)),
    "unit_step": Function(ops.unit_step, lambda a: ((a > 0) * 1.0, _nothing(a)), (0, 0)),
    "signum": Function(ops.signum, lambda a: (np.sign(a), _nothing(a)), (0, 0)),
    "sigmoid": Function(ops.sigmoid, _sigmoid, (4, 4), "z"),
    "tanh": Function(ops.tanh, _tanh, (6, 6), "1"),
    "scaled_tanh": Function(ops.scaled_tanh, _scaled_tanh, (7, 8), "1"),
    "gelu": Function(ops.gelu, _gelu, (6, 5), "Φ, a φ", flushed=16, stretch=_exponent),
    "binary_cross_entropy, target 0": Function(
        lambda a: ops.binary_cross_entropy(a, jnp.zeros_like(a)), _softplus, (4, 4),
        domain=3e38,
    ),
    "binary_cross_entropy, target 1": Function(
        lambda a: ops.binary_cross_entropy(a, jnp.ones_like(a)), _softplus_reversed, (4, 2), "1",
        domain=3e38,
    ),
    "local_response_norm, one channel": Function(
        lambda a: ops.local_response_norm(a[:, None])[:, 0], _response_norm, (4, 2), "1",
        domain=1e18,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Worst:
    """The largest error found, in ulp, and the input where it was found."""

    ulp: float = 0.0
    at: float = 0.0

    def or_worse(self, other: Worst) -> Worst:
        """Return the larger of two errors."""
        return other if other.ulp > self.ulp else self


def every(dtype: Any) -> np.ndarray:
    """All values of a dtype of 16 bits, NaN among them."""
    return np.arange(1 << 16).astype(np.uint16).view(jnp.dtype(dtype))


def program(function: Function) -> Callable[[Any], tuple[jax.Array, jax.Array]]:
    """The compiled value and derivative."""

    def run(a: jax.Array) -> tuple[jax.Array, jax.Array]:
        y, pull = jax.vjp(function.op, a)
        return y, pull(jnp.ones_like(y))[0]

    return jax.jit(run)


def errors(
    function: Function, run: Callable[[np.ndarray], Any], a: np.ndarray
) -> tuple[Worst, Worst]:
    """The largest error of the value, and of the derivative, over an array of inputs.

    NaN, and what lies outside of the function's domain, is left out.
    """
    worst = [Worst(), Worst()]
    results = [np.asarray(b) for b in run(a)]
    with np.errstate(all="ignore"):  # NaN of every kind
        for first in range(0, len(a), BLOCK):
            block = slice(first, first + BLOCK)
            inputs, *found = (b[block].astype(np.float64) for b in (a, *results))
            if not np.abs(inputs).max() <= function.domain:
                inside = np.abs(inputs) <= function.domain
                inputs, *found = (b[inside] for b in (inputs, *found))
            if not inputs.size:
                continue
            exact = function.real(inputs)
            terms = exact[0], _term(function, inputs, exact)
            stretch = function.stretch(inputs) if function.stretch else np.ones(1)
            for part, term in enumerate(terms):
                error = np.abs(found[part] - exact[part])
                error /= _power_of_two(term) * stretch
                # Almost always there is no more to be done; NaN compares false.
                if not error.max() <= worst[part].ulp * float(jnp.finfo(a.dtype).eps):
                    flushed = function.real(0 * inputs)[part]
                    now = _worst(
                        a.dtype, inputs, found[part], exact[part], term, flushed,
                        stretch, function.flushed,
                    )  # fmt: skip
                    worst[part] = worst[part].or_worse(now)
    return worst[0], worst[1]


def _term(function: Function, a: np.ndarray, exact: Pair) -> np.ndarray:
    match function.term:
        case "z":
            return exact[0]
        case "1":
            return np.ones(1)
        case "Φ, a φ":
            return _larger_of_gelu(a)
    return exact[1]


def _worst(
    dtype: np.dtype,
    inputs: np.ndarray,
    found: np.ndarray,
    exact: np.ndarray,
    term: np.ndarray,
    flushed: np.ndarray,
    stretch: np.ndarray,
    lost: float,
) -> Worst:
    """The largest error, where numbers below the smallest normal one may be zero."""
    tiny, eps = (float(limit) for limit in (jnp.finfo(dtype).tiny, jnp.finfo(dtype).eps))
    ulp = np.maximum(_power_of_two(term), tiny) * eps * stretch
    error = np.maximum(np.abs(found - exact) - lost * TINY, 0) / ulp
    of_zero = np.where(np.abs(inputs) < 4 * tiny, np.abs(found - flushed) / ulp, np.inf)
    error = np.fmin(error, of_zero)
    error[(found == exact) | ((np.abs(exact) < tiny) & (found == 0))] = 0
    error[np.isnan(error)] = np.inf
    at = int(np.argmax(error))
    return Worst(float(error[at]), float(inputs[at]))


def _power_of_two(size: np.ndarray) -> np.ndarray:
    """The largest one that is not larger than |size|; for zero a number of no consequence."""
    return np.maximum((size.view(np.int64) & EXPONENT).view(np.float64), 1e-300)
