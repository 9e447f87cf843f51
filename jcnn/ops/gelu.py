r"""GELU: each number times the chance that a normal one is smaller (Hendrycks and Gimpel, 2016).

:math:`z = a \, \Phi(a)` with the normal distribution :math:`\Phi' = \varphi`, so that
:math:`f'(a) = \Phi(a) + a \, \varphi(a)`. It falls to −0.17 at −0.75 and rises again: two inputs
share an output, and the output does not tell the slope.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jcnn.ops.arguments import floating
from jcnn.ops.rule import arguments, rule
from jcnn.precision import in_float32

# Of numerator and denominator, from the constant on: Φ(−t) / exp(−t²/2) on [0, 14] to 6e-9 of
# itself. All are positive, so that no digits cancel.
_MILLS = (
    (0.5000000028, 0.4372503972, 0.1824614526, 0.04037242717, 0.004077591306),
    (1.0, 1.67238575, 1.199289156, 0.4674281035, 0.1012054776, 0.0102208769),
)
_REACH = 14.0  # exp(−14²/2) is no float32 any more
_SQRT_HALF = 0.5**0.5
_DENSITY_AT_ZERO = 0.3989422804014327  # 1 / √(2π)


def gelu(x: ArrayLike) -> jax.Array:
    r"""Apply the Gaussian error linear unit :math:`f(a) = a \, \Phi(a)`.

    :math:`\Phi(a) = (1 + \mathrm{erf}(a / \sqrt 2)) / 2`, the exact form, not the one with tanh.
    Tails are right too: where :math:`a` is far below zero, value and gradient in float32 have a
    relative error of some :math:`a^2 / 2` roundings, as :math:`e^{-a^2/2}` has, until they
    underflow at −13.

    Args:
        x: Any shape, floating point.

    Returns:
        Same shape and dtype; 0 at −∞, ∞ at ∞.

    Raises:
        TypeError: ``x`` is not floating point.

    Gradient:
        :math:`\delta \, (\Phi(a) + a \, \varphi(a))`, :math:`\varphi(a) = e^{-a^2/2} /
        \sqrt{2\pi}`; 1/2 at 0, 0 at −∞, 1 at ∞. Kept between the passes: the input, since the
        output does not tell it.

    >>> [round(z, 4) for z in gelu(jnp.array([-1.0, 0.0, 1.0])).tolist()]
    [-0.1587, 0.0, 0.8413]
    """
    return _gelu(*floating("gelu", x=x))


@rule(keeps=arguments)
@in_float32
def _gelu(x: jax.Array) -> jax.Array:
    # Φ(−∞) is zero, and zero times an infinity would be NaN.
    return jnp.maximum(x, jnp.finfo(x.dtype).min) * _below(x)


@_gelu.pullback
@in_float32
def _(x: jax.Array, dy: jax.Array) -> jax.Array:
    limits = jnp.finfo(x.dtype)
    a = jnp.clip(x, limits.min, limits.max)  # as above: φ(±∞) is zero
    return dy * (_below(a) + a * _DENSITY_AT_ZERO * _bell(a))


@rule(keeps=arguments)
def _below(a: jax.Array) -> jax.Array:
    """Φ(a): the chance that a normal number is smaller.

    XLA's erfc takes nearly twice as long on a CPU, and 1 + erf has no digits left where a < −5.
    Float64 takes erfc: a fit that is good to its last digit would be slower.
    """
    if a.dtype == jnp.float64:
        return 0.5 * lax.erfc(-a * _SQRT_HALF)
    t = jnp.minimum(jnp.abs(a), _REACH)
    above, below = (_polynomial(coefficients, t) for coefficients in _MILLS)
    tail = _bell(a) * (above / below)
    return jnp.where(a < 0, tail, 1 - tail)


@_below.pullback
def _(a: jax.Array, dy: jax.Array) -> jax.Array:
    return dy * _DENSITY_AT_ZERO * _bell(a)  # Φ' = φ


def _bell(a: jax.Array) -> jax.Array:
    return jnp.exp(-0.5 * a * a)


def _polynomial(coefficients: Sequence[float], t: jax.Array) -> jax.Array:
    first, *rest = reversed(coefficients)
    total = jnp.full_like(t, first)
    for coefficient in rest:
        total = total * t + coefficient
    return total
