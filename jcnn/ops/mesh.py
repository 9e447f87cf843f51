"""Meshes whose axes are explicit: there every array's type says how it is sharded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec, auto_axes, reshard

Result = TypeVar("Result")
MeshAxis: TypeAlias = str | tuple[str, ...] | None


def on_mesh(
    function: Callable[..., Result], *arrays: jax.Array, spec: tuple[MeshAxis, ...]
) -> Result:
    """Return ``function(*arrays)``, all of it sharded by ``spec`` where a mesh has explicit axes.

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


def positions_together(x: jax.Array) -> jax.Array:
    """Return an image with all of its positions on each device, where a mesh's axes are explicit.

    What is spread over zeros, as a pool's gradient is, XLA computes wrong where it is split there.
    """
    sharding = _explicit(x)
    if sharding is None or not any(sharding.spec[1:-1]):
        return x
    return reshard(x, NamedSharding(sharding.mesh, PartitionSpec(*image(x, x))))


def axis(a: jax.Array, place: int) -> MeshAxis:
    """Return the mesh axis, or axes, that an axis of ``a`` is sharded over."""
    return jax.typeof(a).sharding.spec[place]


def but_for(place: int, a: jax.Array) -> tuple[MeshAxis, ...]:
    """Return how ``a`` is sharded, but for one axis, which is whole."""
    return tuple(None if i == place else axis(a, i) for i in range(a.ndim))


@jax.tree_util.register_static
@dataclass(frozen=True)
class Placement:
    """How a rule's arguments are sharded on a mesh of explicit axes; None where there is none."""

    shardings: tuple[NamedSharding | None, ...]

    def of(self, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        """Shard each gradient as its argument: a sum over examples is, until then, as these are."""
        if not any(self.shardings):
            return gradients
        pairs = zip(gradients, self.shardings, strict=True)
        return tuple(g if g is None or s is None else reshard(g, s) for g, s in pairs)


def placement(*arrays: Any) -> Placement:
    """Return how these arrays are sharded."""
    return Placement(tuple(map(_explicit, arrays)))


def _explicit(a: Any) -> NamedSharding | None:
    sharding = jax.typeof(a).sharding
    return sharding if AxisType.Explicit in sharding.mesh.axis_types else None
