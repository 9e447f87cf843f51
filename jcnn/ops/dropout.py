r"""Dropout (Krizhevsky et al. 2012): :math:`y = m x / (1 - r)` with a random mask :math:`m`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jcnn.axes import wrong_kind
from jcnn.ops.arguments import (
    floating,
    mesh_axes,
    naming,
    number,
    random_key,
    varying_together,
)
from jcnn.ops.mesh import MeshAxis
from jcnn.ops.rule import all_but_first, rule
from jcnn.precision import in_float32

Statics: TypeAlias = tuple[float, tuple[MeshAxis, ...]]


def dropout(
    x: ArrayLike, key: jax.Array, drop_rate: float, *, spec: tuple[MeshAxis, ...] = ()
) -> jax.Array:
    r"""Set a random share of the elements to zero and scale the others up.

    .. math:: y = \frac{m}{1 - r} x, \qquad m \sim \mathrm{Bernoulli}(1 - r)

    so that the mean stays and nothing has to be done at inference.

    Args:
        x: Any shape, floating point.
        key: A JAX random key; the same key gives the same mask. Example n, at index n of the first
            axis, draws from ``jax.random.fold_in(key, n)``, so that each of many devices draws for
            its own examples alone.
        drop_rate: :math:`r`, the probability of a zero, in [0, 1).
        spec: Inside ``jax.shard_map``, the mesh axes that each axis of the whole array is split
            over, as in a ``PartitionSpec``, ``x`` being a part of it: the mask is then that part of
            the whole array's.

    Returns:
        Same shape and dtype.

    Raises:
        TypeError: ``x`` is not floating point, ``key`` no random key, or ``drop_rate`` is traced.
        ValueError: ``drop_rate`` is outside [0, 1), ``key`` is several keys, or ``spec`` names what
            is no mesh axis here.

    Gradient:
        :math:`\frac{m}{1 - r} \delta`: linear, its own adjoint. Kept between the passes: the key
        alone; the mask is drawn again.

    >>> dropout(jnp.ones(3), jax.random.key(0), 0.0)
    Array([1., 1., 1.], dtype=float32)
    """
    (x,) = floating("dropout", x=x)
    key = random_key("dropout", key)
    drop_rate = number("dropout", "drop_rate", drop_rate)
    if not 0 <= drop_rate < 1:
        raise ValueError(f"dropout: drop_rate must be in [0, 1), found {drop_rate}")
    with naming("dropout"):
        axes = _axes(spec, x.ndim)
    return _dropout((drop_rate, axes), *varying_together(x, key))


def _axes(spec: Any, ndim: int) -> tuple[MeshAxis, ...]:
    """Check what is said of how the whole array is split."""
    if isinstance(spec, str) or not isinstance(spec, Iterable):
        raise wrong_kind("spec", "a tuple of mesh axes, None where an axis is whole", spec)
    axes = tuple(tuple(names) if isinstance(names, list) else names for names in spec)
    if len(axes) > ndim:
        raise ValueError(f"spec must be of x's {ndim} axes, found {axes}")
    for names in axes:
        if names is not None:
            mesh_axes("spec's axes", *(names if isinstance(names, tuple) else (names,)))
    return axes


@rule(keeps=all_but_first, statics=1)
@in_float32
def _dropout(statics: Statics, x: jax.Array, key: jax.Array) -> jax.Array:
    drop_rate, spec = statics
    kept = _drawn(key, 1 - drop_rate, x.shape, spec)
    return jnp.where(kept, x / (1 - drop_rate), 0)


@_dropout.pullback
def _(statics: Statics, key: jax.Array, dy: jax.Array) -> tuple[jax.Array, None]:
    return _dropout(statics, dy, key), None


def _drawn(
    key: jax.Array, rate: float, shape: tuple[int, ...], spec: tuple[MeshAxis, ...]
) -> jax.Array:
    """Draw what is kept, of this device's examples; of an example's parts, all that there are."""
    if not shape:
        return jax.random.bernoulli(key, rate)
    examples, *parts = (*spec, *(None,) * (len(shape) - len(spec)))
    split = [(k, name) for k, name in enumerate(parts) if name]
    whole = list(shape[1:])
    for k, name in split:
        whole[k] *= lax.axis_size(name)

    def of_example(number: jax.Array) -> jax.Array:
        kept = jax.random.bernoulli(jax.random.fold_in(key, number), rate, whole)
        for k, name in split:
            start = lax.axis_index(name) * shape[1 + k]
            kept = lax.dynamic_slice_in_dim(kept, start, shape[1 + k], axis=k)
        return kept

    first = lax.axis_index(examples) * shape[0] if examples else 0
    return jax.vmap(of_example)(first + jnp.arange(shape[0], dtype=jnp.int32))
