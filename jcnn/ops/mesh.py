"""Meshes whose axes are explicit: there every array's type says how it is sharded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec, auto_axes

MeshAxis: TypeAlias = str | tuple[str, ...] | None


def on_mesh(
    function: Callable[..., jax.Array], *arrays: jax.Array, spec: tuple[MeshAxis, ...]
) -> jax.Array:
    """Return ``function(*arrays)``, sharded by ``spec`` where a mesh has explicit axes.

    A lowering reshapes and contracts as suits one device. Explicit axes would have each step say
    where its result goes; so inside, the steps are left to the compiler, those of the gradient too,
    and a gradient comes out sharded as its argument is. Under any other mesh, and under none, this
    is the plain call.
    """
    meshes = [jax.typeof(a).sharding.mesh for a in arrays]
    mesh = next((mesh for mesh in meshes if AxisType.Explicit in mesh.axis_types), None)
    if mesh is None:
        return function(*arrays)
    output = NamedSharding(mesh, PartitionSpec(*spec))
    return auto_axes(function, out_sharding=output)(*arrays)  # pyright: ignore[reportReturnType]


def image(x: jax.Array, features: jax.Array) -> tuple[MeshAxis, ...]:
    """Return how (N, *output, D) is sharded: the batch as ``x`` is, D as ``features`` (..., D)."""
    return axis(x, 0), *(None,) * (x.ndim - 2), axis(features, -1)


def axis(a: jax.Array, place: int) -> MeshAxis:
    """Return the mesh axis, or axes, that an axis of ``a`` is sharded over."""
    return jax.typeof(a).sharding.spec[place]
