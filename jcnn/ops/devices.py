r"""Sums over devices and arrays gathered from them, inside ``jax.shard_map``, with their adjoints.

Where ``shard_map`` tracks what varies, a sum over devices is known to be equal on all of them, and
so is its cotangent, which is then the gradient of each device's term. Untracked
(``check_vma=False``), each device has a share of that cotangent, and the gradient is their sum.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
from jax import lax

from jcnn.ops.rule import linear


def equal_on_all(mesh_axis: str, x: jax.Array) -> bool:
    """Whether ``shard_map`` knows that ``x`` is the same on all devices of a mesh axis."""
    return tracked(lax.axis_index(mesh_axis), mesh_axis) and not tracked(x, mesh_axis)


def gathered(axis: int, mesh_axis: str, x: jax.Array) -> jax.Array:
    """The whole array, on all devices, of an axis that is split over those of a mesh axis."""
    return _gathered(_Along(mesh_axis, tracked(x, mesh_axis), axis, x.shape[axis]), x)


def averaged(mesh_axes: tuple[str, ...], y: jax.Array) -> jax.Array:
    """The mean over the devices of mesh axes."""
    return summed(mesh_axes, y) / math.prod(map(lax.axis_size, mesh_axes))


def summed(mesh_axes: tuple[str, ...], y: jax.Array) -> jax.Array:
    """The sum over the devices of mesh axes, equal on all of them."""
    for name in mesh_axes:
        y = _summed(_Along(name, tracked(y, name)), y)
    return y


def tracked(x: jax.Array, *mesh_axes: str) -> bool:
    """Whether ``shard_map`` knows that ``x`` differs between the devices of these mesh axes."""
    return jax.typeof(x).manual_axis_type.varying.issuperset(mesh_axes)


class _Along(NamedTuple):
    """A mesh axis, whether ``shard_map`` tracks what varies over it, and what is split over it.

    What is equal on all devices has a cotangent that is; untracked, each device has a share of it.
    """

    mesh_axis: str
    tracked: bool
    axis: int = 0
    size: int = 0


@linear
def _summed(along: _Along, y: jax.Array) -> jax.Array:
    return lax.psum(y, along.mesh_axis)


@_summed.adjoint
def _shared(along: _Along, dy: jax.Array) -> jax.Array:
    name = along.mesh_axis
    return lax.pcast(dy, name, to="varying") if along.tracked else lax.psum(dy, name)


@linear
def _gathered(along: _Along, x: jax.Array) -> jax.Array:
    to = "invarying" if along.tracked else "varying"
    return lax.all_gather(x, along.mesh_axis, axis=along.axis, tiled=True, to=to)


@_gathered.adjoint
def _own(along: _Along, dy: jax.Array) -> jax.Array:
    name, _, axis, size = along
    if along.tracked:
        return lax.dynamic_slice_in_dim(dy, size * lax.axis_index(name), size, axis)
    return lax.psum_scatter(dy, name, scatter_dimension=axis, tiled=True)
