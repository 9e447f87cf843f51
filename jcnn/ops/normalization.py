r"""Batch normalisation (Ioffe and Szegedy 2015)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jcnn.lowering import channel_sum, one_value
from jcnn.ops.arguments import mesh_axes, naming, number, with_channels
from jcnn.ops.devices import tracked
from jcnn.ops.mesh import axis, on_mesh
from jcnn.ops.rule import rule
from jcnn.precision import dtype_within, widened

Outputs: TypeAlias = tuple[jax.Array, jax.Array, jax.Array]


def batch_norm(
    x: ArrayLike,
    scale: ArrayLike,
    offset: ArrayLike,
    *,
    epsilon: float = 1e-5,
    axis_name: str | tuple[str, ...] = (),
) -> Outputs:
    r"""Normalise each channel by the batch's own mean and variance, as in training.

    .. math::
        \hat x = \frac{x - \mu}{\sqrt{v + \epsilon}}, \quad y = \gamma \hat x + \beta, \qquad
        \mu = \frac{1}{M} \sum x, \quad v = \frac{1}{M} \sum (x - \mu)^2

    over the :math:`M` elements of a channel, the batch and all positions.

    Args:
        x: (N, ..., C), floating point.
        scale: :math:`\gamma`, (C,), of the same dtype; or float32 beside a half-precision ``x``.
        offset: :math:`\beta`, (C,), of the dtype of ``scale``.
        epsilon: Added to the variance; positive.
        axis_name: Axes of ``jax.shard_map`` that the batch is split over, ``x`` being a part of it:
            mean and variance are then those of the whole batch, in equal parts on all devices.

    Returns:
        ``(y, mean, variance)``: (N, ..., C) of the dtype of ``x``, (C,) and (C,), in float32 where
        ``x`` is of half precision. The variance is the biased one, over M. Without any element,
        both are zero. How far all a channel's values are from zero takes nothing from the digits of
        ``y`` and of the variance: deviations are taken from one of the channel's values, its first
        (on TPUs, the largest of the first example).

    Raises:
        TypeError: An array is not floating point, dtypes don't fit, or ``epsilon`` is traced.
        ValueError: Shapes don't fit, ``epsilon`` is not positive, or ``axis_name`` is no axis here.

    Gradient:
        .. math::
            \partial L/\partial x &= \frac{\gamma}{M \sqrt{v + \epsilon}}
            \left( M \delta - \sum \delta - \hat x \sum \delta \hat x \right)
            + \frac{1}{M} \delta_\mu + \frac{2}{M} (x - \mu) \, \delta_v \\
            \partial L/\partial\gamma &= \sum \delta \hat x, \qquad
            \partial L/\partial\beta = \sum \delta

        the last two terms for cotangents of the returned mean and variance. Kept between the
        passes: ``x``, ``scale`` and two numbers per channel; not :math:`\hat x`. Over ``axis_name``
        the sums of :math:`\partial L/\partial x` are the whole batch's, those of :math:`\gamma` and
        :math:`\beta` a device's own.

    >>> y, mean, variance = batch_norm(jnp.array([[1.0], [3.0]]), jnp.ones(1), jnp.zeros(1))
    >>> mean, variance
    (Array([2.], dtype=float32), Array([1.], dtype=float32))
    """
    x, scale, offset = with_channels("batch_norm", x, scale=scale, offset=offset)
    epsilon = _check_channels("batch_norm", x, epsilon, scale=scale, offset=offset)
    if axis_name:
        with naming("batch_norm"):
            names = tuple(axis_name) if isinstance(axis_name, list) else axis_name
            mesh_axes("axis_name", *(names if isinstance(names, tuple) else (names,)))
        return _batch_norm_across((epsilon, names), x, scale, offset)[:3]
    y, mean, variance = _batch_norm(epsilon, x, scale, offset)
    return y, _pivot(x).reshape(mean.shape) + mean, variance


@rule(keeps=lambda outputs, x, scale, offset: (x, scale, *outputs[1:]), statics=1)
def _batch_norm(epsilon: float, x: jax.Array, scale: jax.Array, offset: jax.Array) -> Outputs:
    """The statistics are those of the deviations from the pivot."""
    pivot = _pivot(x)
    mean = _sum(_deviation, x, pivot) / _count(x)
    variance = _sum(_squared, x, pivot, _channels(mean, x)) / _count(x)
    factor = scale * lax.rsqrt(variance + epsilon)
    centred = _centred(x, pivot, _channels(mean, x))
    y = centred * _channels(factor, x) + _channels(offset, x)
    return y.astype(x.dtype), mean, variance


@_batch_norm.pullback
def _(
    epsilon: float,
    x: jax.Array,
    scale: jax.Array,
    mean: jax.Array,
    variance: jax.Array,
    cotangents: Outputs,
) -> Outputs:
    dy, dmean, dvariance = map(widened, cotangents)
    axes = tuple(range(x.ndim - 1))
    m = _count(x)
    rate = lax.rsqrt(variance + epsilon)
    at = _pivot(x), _channels(mean, x)
    centred = _centred(x, *at)
    normalized = centred * _channels(rate, x)
    doffset = dy.sum(axis=axes)
    dscale = rate * _sum(_against, dy, x, *at)
    through_mean = _channels(doffset, x) + normalized * _channels(dscale, x)
    dx = _channels(scale * rate, x) * (dy - through_mean / m)
    through_statistics = (_channels(dmean, x) + 2 * centred * _channels(dvariance, x)) / m
    return (dx + through_statistics).astype(x.dtype), dscale, doffset


Statics: TypeAlias = tuple[float, str | tuple[str, ...]]
FourOutputs: TypeAlias = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


@rule(keeps=lambda outputs, x, scale, offset: (x, scale, *outputs[2:]), statics=1)
def _batch_norm_across(
    statics: Statics, x: jax.Array, scale: jax.Array, offset: jax.Array
) -> FourOutputs:
    """The devices' own statistics joined, one collective: last, the mean from this one's pivot."""
    epsilon, axis_name = statics
    pivot = _pivot(x)
    mean = _sum(_deviation, x, pivot) / _count(x)
    variance = _sum(_squared, x, pivot, _channels(mean, x)) / _count(x)
    own = pivot.reshape(mean.shape), mean, variance
    # Where shard_map tracks what varies, it learns that the statistics are the same on all devices.
    to = "invarying" if tracked(x, *_names(axis_name)) else "varying"
    pivots, means, variances = lax.all_gather(jnp.stack(own), axis_name, axis=1, to=to)
    # from the first one's pivot on, so that all devices get the same bits
    means = (pivots - pivots[0]) + means
    mean = means.mean(axis=0)
    variance = (variances + jnp.square(means - mean)).mean(axis=0)
    shifted = mean + (pivots[0] - own[0])
    centred = _centred(x, pivot, _channels(shifted, x))
    factor = scale * lax.rsqrt(variance + epsilon)
    y = centred * _channels(factor, x) + _channels(offset, x)
    return y.astype(x.dtype), pivots[0] + mean, variance, shifted


@_batch_norm_across.pullback
def _(
    statics: Statics,
    x: jax.Array,
    scale: jax.Array,
    variance: jax.Array,
    shifted: jax.Array,
    cotangents: FourOutputs,
) -> Outputs:
    epsilon, axis_name = statics
    dy, dmean, dvariance, dshifted = map(widened, cotangents)
    axes = tuple(range(x.ndim - 1))
    rate = lax.rsqrt(variance + epsilon)
    at = _pivot(x), _channels(shifted, x)
    centred = _centred(x, *at)
    normalized = centred * _channels(rate, x)
    doffset, dscale = dy.sum(axis=axes), rate * _sum(_against, dy, x, *at)
    own = (doffset, dscale)
    # The pivots are constants: what is shifted by them moves as the mean does, on each device.
    if tracked(x, *_names(axis_name)):  # what is the same on all devices has a cotangent that is
        *sums, moved = lax.psum(jnp.stack([*own, dshifted]), axis_name)
        sums = *sums, dmean + moved, dvariance
    else:
        sums = lax.psum(jnp.stack([*own, dmean + dshifted, dvariance]), axis_name)
    of_offset, of_scale, of_mean, of_variance = (_channels(each, x) for each in sums)
    m = _count(x) * lax.axis_size(axis_name)
    dx = _channels(scale * rate, x) * (dy - (of_offset + normalized * of_scale) / m)
    return (dx + (of_mean + 2 * centred * of_variance) / m).astype(x.dtype), dscale, doffset


def _names(axis_name: str | tuple[str, ...]) -> tuple[str, ...]:
    return (axis_name,) if isinstance(axis_name, str) else axis_name


def _pivot(x: jax.Array) -> jax.Array:
    """One value of each channel, (1, ..., C), which sums of what is near it are taken from.

    A constant: what it takes away is added again, so that nothing depends on it.
    """
    if 0 in x.shape:
        return jnp.zeros((*(1 for _ in x.shape[:-1]), x.shape[-1]), dtype_within(x))
    spec = *(None for _ in x.shape[:-1]), axis(x, -1)
    return widened(on_mesh(one_value, lax.stop_gradient(x), spec=spec))


def _sum(terms: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
    """The sum of each channel."""
    return on_mesh(partial(channel_sum, terms), *arrays, spec=(axis(arrays[0], -1),))


def _deviation(x: jax.Array, pivot: jax.Array) -> jax.Array:
    return widened(x) - pivot


def _centred(x: jax.Array, pivot: jax.Array, mean: jax.Array) -> jax.Array:
    return _deviation(x, pivot) - mean


def _squared(x: jax.Array, pivot: jax.Array, mean: jax.Array) -> jax.Array:
    return lax.square(_centred(x, pivot, mean))


def _against(dy: jax.Array, x: jax.Array, pivot: jax.Array, mean: jax.Array) -> jax.Array:
    return dy * _centred(x, pivot, mean)


def _count(a: jax.Array) -> int:
    return math.prod(a.shape[:-1]) or 1


def _channels(a: jax.Array, x: jax.Array) -> jax.Array:
    """Give (C,) the rank of ``x``."""
    return lax.broadcast_to_rank(a, x.ndim)


def batch_norm_inference(
    x: ArrayLike,
    scale: ArrayLike,
    offset: ArrayLike,
    mean: ArrayLike,
    variance: ArrayLike,
    *,
    epsilon: float = 1e-5,
) -> jax.Array:
    r"""Normalise each channel by a given mean and variance, as after training.

    .. math:: y = \gamma \frac{x - \mu}{\sqrt{v + \epsilon}} + \beta

    Args:
        x: (N, ..., C), floating point.
        scale: :math:`\gamma`, (C,), as all that follow of the same dtype, or all float32 beside a
            half-precision ``x``.
        offset: :math:`\beta`, (C,).
        mean: :math:`\mu`, (C,), a running mean.
        variance: :math:`v`, (C,), a running variance.
        epsilon: Added to the variance; positive.

    Returns:
        (N, ..., C), of the dtype of ``x``.

    Raises:
        TypeError: An array is not floating point, dtypes don't fit, or ``epsilon`` is traced.
        ValueError: Shapes don't fit, or ``epsilon`` is not positive.

    Gradient:
        With :math:`r = (v + \epsilon)^{-1/2}`: :math:`\partial L/\partial x = \gamma r \delta`,
        :math:`\partial L/\partial\gamma = r \sum \delta (x - \mu)`,
        :math:`\partial L/\partial\beta = \sum \delta`,
        :math:`\partial L/\partial\mu = -\gamma r \sum \delta`,
        :math:`\partial L/\partial v = -\frac{1}{2} \gamma r^3 \sum \delta (x - \mu)`.
        Kept between the passes: ``x``, ``scale``, ``mean`` and ``variance``.

    >>> one = jnp.ones(1)
    >>> batch_norm_inference(jnp.array([[3.0]]), one, one, one, 4 * one, epsilon=1e-12)
    Array([[2.]], dtype=float32)
    """
    op = "batch_norm_inference"
    x, scale, offset, mean, variance = with_channels(
        op, x, scale=scale, offset=offset, mean=mean, variance=variance
    )
    channels = {"scale": scale, "offset": offset, "mean": mean, "variance": variance}
    epsilon = _check_channels(op, x, epsilon, **channels)
    return _batch_norm_inference(epsilon, x, scale, offset, mean, variance)


@rule(keeps=lambda y, x, scale, offset, *statistics: (x, scale, *statistics), statics=1)
def _batch_norm_inference(
    epsilon: float,
    x: jax.Array,
    scale: jax.Array,
    offset: jax.Array,
    mean: jax.Array,
    variance: jax.Array,
) -> jax.Array:
    factor = scale * lax.rsqrt(variance + epsilon)
    centred = widened(x) - _channels(mean, x)
    return (centred * _channels(factor, x) + _channels(offset, x)).astype(x.dtype)


@_batch_norm_inference.pullback
def _(
    epsilon: float,
    x: jax.Array,
    scale: jax.Array,
    mean: jax.Array,
    variance: jax.Array,
    dy: jax.Array,
) -> tuple[jax.Array, ...]:
    dy = widened(dy)
    axes = tuple(range(x.ndim - 1))
    rate = lax.rsqrt(variance + epsilon)
    doffset = dy.sum(axis=axes)
    centred = (dy * (widened(x) - _channels(mean, x))).sum(axis=axes)
    dx = (_channels(scale * rate, x) * dy).astype(x.dtype)
    return dx, rate * centred, doffset, -scale * rate * doffset, -0.5 * scale * rate**3 * centred


def _check_channels(op: str, x: jax.Array, epsilon: float, **arrays: jax.Array) -> float:
    epsilon = number(op, "epsilon", epsilon)
    if not epsilon > 0:
        raise ValueError(f"{op}: epsilon must be positive, found {epsilon}")
    if x.ndim < 2:
        raise ValueError(f"{op}: x must be (N, ..., C), found {x.shape}")
    for name, a in arrays.items():
        if a.shape != x.shape[-1:]:
            raise ValueError(f"{op}: {name} must be {x.shape[-1:]}, found {a.shape}")
    return epsilon
