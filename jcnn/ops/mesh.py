"""Meshes whose axes are explicit: there every array's type says how it is sharded."""

from __future__ import annotations

from collections.abc import Callable

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec, auto_axes


def placed(
    function: Callable[[jax.Array, jax.Array], jax.Array],
    a: jax.Array,
    b: jax.Array,
    *spec: object,
) -> jax.Array:
    """Return ``function(a, b)``, sharded by ``spec`` where the mesh's axes are explicit.

    A lowering reshapes and contracts as suits one device. Explicit axes would have it say for each
    step where the result goes; so the steps are left to the compiler, and the last one is told.
    Under any other mesh, and under none, this is the plain call.
    """
    meshes = [jax.typeof(array).sharding.mesh for array in (a, b)]
    mesh = next((mesh for mesh in meshes if AxisType.Explicit in mesh.axis_types), None)
    if mesh is None:
        return function(a, b)
    return auto_axes(function, out_sharding=NamedSharding(mesh, PartitionSpec(*spec)))(a, b)


def axis(a: jax.Array, place: int) -> object:
    """Return the mesh axis, or axes, that an axis of ``a`` is sharded over; or None."""
    return jax.typeof(a).sharding.spec[place]
