r"""Local response normalisation (Krizhevsky et al. 2012)."""

from __future__ import annotations

from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jcnn.axes import integer, known
from jcnn.lowering import computed_anew
from jcnn.ops.arguments import floating, naming, number
from jcnn.ops.mesh import axis, on_mesh
from jcnn.ops.rule import arguments, rule
from jcnn.precision import in_float32

Numbers: TypeAlias = tuple[int, float, float, float]


def local_response_norm(
    x: ArrayLike,
    *,
    size: int = 5,
    offset: float = 2.0,
    scale: float = 1e-4,
    power: float = 0.75,
) -> jax.Array:
    r"""Divide each activation by those of neighbouring channels at the same place.

    .. math:: y_c = \frac{x_c}{s_c^{\beta}}, \qquad
        s_c = k + \alpha \sum_{c'=c-\lfloor (n-1)/2 \rfloor}^{c+\lfloor n/2 \rfloor} x_{c'}^2

    with Krizhevsky's :math:`n = 5, k = 2, \alpha = 10^{-4}, \beta = 0.75` (the sum is not divided
    by :math:`n`, as some frameworks do).

    Args:
        x: (..., C), floating point.
        size: :math:`n`, channels in a neighbourhood; those outside count as zero.
        offset: :math:`k`, positive.
        scale: :math:`\alpha`, not negative.
        power: :math:`\beta`.

    Returns:
        Same shape and dtype.

    Raises:
        TypeError: ``x`` is not floating point.
        ValueError: ``size`` is less than 1, ``offset`` not positive or ``scale`` negative.

    Gradient:
        .. math:: \partial L/\partial x_c = \delta_c s_c^{-\beta} - 2 \alpha \beta \, x_c
            \sum_{c' : c \in \text{neighbourhood of } c'} \delta_{c'} x_{c'} s_{c'}^{-\beta - 1}

        Kept between the passes: ``x``.

    >>> local_response_norm(jnp.array([[1.0, 2.0]]), size=1, offset=1.0, scale=1.0, power=1.0)
    Array([[0.5, 0.4]], dtype=float32)
    """
    (x,) = floating("local_response_norm", x=x)
    with naming("local_response_norm"):
        size = integer("size", size, 1)
    offset, scale, power = (
        number("local_response_norm", name, value)
        for name, value in (("offset", offset), ("scale", scale), ("power", power))
    )
    if not (offset > 0 and scale >= 0):
        raise ValueError(
            "local_response_norm: offset must be positive and scale not negative, "
            f"found {offset} and {scale}"
        )
    return _local_response_norm((size, offset, scale, power), x)


@rule(keeps=arguments, statics=1)
@in_float32
def _local_response_norm(numbers: Numbers, x: jax.Array) -> jax.Array:
    size, offset, scale, power = numbers
    s = offset + scale * _neighbours(x * x, (size - 1) // 2, size // 2)
    return x * s**-power


@_local_response_norm.pullback
@in_float32
def _(numbers: Numbers, x: jax.Array, dy: jax.Array) -> jax.Array:
    size, offset, scale, power = numbers
    # Else XLA keeps s and its power, where they were computed forward, in place of x.
    x, dy = computed_anew(x, dy)
    s = offset + scale * _neighbours(x * x, (size - 1) // 2, size // 2)
    shrunk = s**-power
    da = dy * shrunk  # first, so that where s overflows no infinite product meets its zero
    # the channels that c is a neighbour of: the neighbourhood mirrored
    crossed = _neighbours(x * da / s, size // 2, (size - 1) // 2)
    return da - x * (2 * scale * power * crossed)


def _neighbours(x: jax.Array, before: int, after: int) -> jax.Array:
    """Sum each channel with those ``before`` and ``after`` it."""
    spec = tuple(axis(x, i) for i in range(x.ndim))
    return on_mesh(partial(_shifted_sum, before, after), x, spec=spec)


def _shifted_sum(before: int, after: int, x: jax.Array) -> jax.Array:
    channels = x.shape[-1]
    if known(channels):  # further is nothing
        before, after = min(before, channels), min(after, channels)
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(before, after)])
    shifted = (padded[..., k : k + channels] for k in range(before + after + 1))
    return sum(shifted, jnp.zeros_like(x))
