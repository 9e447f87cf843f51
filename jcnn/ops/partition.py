"""A rule run by each device on its own part, where the compiler splits arrays over a mesh.

Under ``jax.jit`` of sharded arrays the compiler decides how each intermediate array is split. What
a lowering is made of (reshapes, blocks of images, transforms) tells it little, and it gathers whole
batches. So a rule says which of its axes may be split, and alike; the compiler asks back with what
it has decided, and gets the rule on a device's part, chosen for the part's shape, with the one sum
over the devices that the mathematics needs: over an axis that the result doesn't have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import copy_context
from math import gcd
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jax import lax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.experimental.xla_metadata import set_xla_metadata
from jax.interpreters import mlir
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

# What an array's axes are: names of factors, outermost first; an axis is split along its first.
Axes: TypeAlias = tuple[str, ...]
Spec: TypeAlias = tuple[str, ...]


class Split(NamedTuple):
    """Which axes of a rule's arrays and of its result are one, and which may be split.

    Attributes:
        arrays: For each array the names of its axes; "g c" is an axis of g runs of c.
        result: The same for the result.
        factors: Names along which arrays may be split. What the result lacks is summed over.
        sizes: Of names that are no axis by themselves.
        statics: The rule's static arguments on a part, from how many parts each factor has.
    """

    arrays: tuple[Axes, ...]
    result: Axes
    factors: tuple[str, ...]
    sizes: Mapping[str, int]
    statics: Callable[[Mapping[str, int]], tuple[Any, ...]]

    @property
    def summed(self) -> tuple[str, ...]:
        """Factors that the result lacks."""
        return tuple(f for f in self.factors if all(f != _first(axis) for axis in self.result))


def _first(axis: str) -> str:
    return axis.split()[0]


def automatic_mesh(context: mlir.LoweringRuleContext) -> AbstractMesh | None:
    """The mesh whose devices the compiler splits the arrays of an operation over, if it does.

    An export is for whoever reads it, who has none of the rule's Python. Off the CPU every lowering
    is XLA's own convolution, which its partitioner knows (but for groups of several channels, which
    it gathers), and a compiler that runs without its devices, as a TPU's may, doesn't call back.
    """
    if tuple(context.module_context.platforms) != ("cpu",):
        return None
    types: list[Any] = [*context.avals_in, *context.avals_out]
    meshes = [mesh for a in types if not (mesh := a.sharding.mesh).empty]
    if context.module_context.lowering_parameters.for_export or not meshes:
        return None
    mesh = meshes[0]
    alone = mesh.size == 1 or any(AxisType.Manual in m.axis_types for m in meshes)
    return None if alone or any(m.shape != mesh.shape for m in meshes) else mesh


def lower(
    context: mlir.LoweringRuleContext,
    mesh: AbstractMesh,
    split: Split,
    run: Callable[..., jax.Array],
    like: Callable[..., jax.Array],
    label: str,
    *values: Any,
) -> Any:
    """Lower ``run(statics, *arrays)`` to what the compiler asks for on each device's part.

    ``like`` has a result of the same type, and is never run; ``label`` tells the rule from every
    other, on any machine.
    """
    # The compiler asks from a thread of its own, which knows neither what is asked of the
    # lowerings nor that numbers may have 64 bits.
    within, x64 = copy_context(), jax.config.read("jax_enable_x64")
    types: list[Any] = [*context.avals_in, *context.avals_out]
    split = _whole(split, mesh, [a.shape for a in types])

    def partition(mesh: Mesh, arrays: Any, result: Any) -> Any:
        shared = _shared(split, mesh, arrays, result)
        counts = {f: _count(mesh, axes) for f, axes in shared.items()}
        over = tuple(axis for f in split.summed for axis in shared.get(f, ()))

        def part(*arrays: jax.Array) -> jax.Array:
            with jax.enable_x64(x64):
                y = within.copy().run(run, split.statics(counts), *arrays)
                return lax.psum(y, over) if over else y

        *sources, target = (
            NamedSharding(mesh, PartitionSpec(*(shared.get(_first(axis)) for axis in axes)))
            for axes in (*split.arrays, split.result)
        )
        return mesh, part, target, tuple(sources)

    whole = custom_partitioning(lambda *arrays: like(*split.statics({}), *arrays))
    whole.def_partition(partition, sharding_rule=_rule(split), **_kinds(split))

    def call(*arrays: jax.Array) -> jax.Array:
        # Read by nobody, but part of what tells programs apart in the compilation cache, in which
        # a custom call is known by an address or, where that is asked for, by nothing.
        with set_xla_metadata(jcnn=label):
            return whole(*arrays)

    on_mesh = context.replace(module_context=_known(context.module_context, mesh))
    return mlir.lower_fun(call, multiple_results=False)(on_mesh, *values)


def _whole(split: Split, mesh: AbstractMesh, shapes: list[tuple[int, ...]]) -> Split:
    """Leave out runs that would take a part of a mesh axis, of which JAX has no word.

    Six groups of two over four devices: the compiler would give half of the devices to the groups
    and half to what is in them. Then such axes are nothing to each other.
    """
    known = [*zip((*split.arrays, split.result), shapes, strict=True)]
    named = [pair for axes, shape in known for pair in zip(axes, shape, strict=True)]

    def parts(factor: str) -> bool:
        length = min(split.sizes.get(factor, n) for axis, n in named if _first(axis) == factor)
        runs = any(" " in axis for axis, _ in named if _first(axis) == factor)
        return runs and any(1 < gcd(length, n) < n for n in mesh.shape.values())

    def apart(axes: Axes) -> Axes:
        return tuple(axis.replace(" ", "") for axis in axes)

    kept = tuple(f for f in split.factors if not parts(f))
    if kept == split.factors:
        return split
    arrays = tuple(map(apart, split.arrays))
    return split._replace(arrays=arrays, result=apart(split.result), factors=kept, sizes={})


def _known(module: mlir.ModuleContext, mesh: AbstractMesh) -> mlir.ModuleContext:
    """The module's context with the mesh, which JAX leaves out of programs without custom calls.

    Of the devices only the number matters until the program is compiled, for whichever they are.
    """
    devices = tuple(np.resize(np.array(jax.devices(), object), mesh.size))
    return module.replace(axis_context=mlir.ShardingContext(mesh.size, devices, mesh))


def _rule(split: Split) -> str:
    def written(axes: Axes) -> str:
        return " ".join(f"({axis})" if " " in axis else axis for axis in axes)

    return f"{', '.join(map(written, split.arrays))} -> {written(split.result)}"


def _kinds(split: Split) -> dict[str, Any]:
    """What the compiler is told of the factors, which it wants in the order of the rule."""
    names = (f for axes in (*split.arrays, split.result) for axis in axes for f in axis.split())
    names = tuple(dict.fromkeys(names))
    return {
        "reduction_factors": tuple(f for f in names if f in split.summed),
        "need_replication_factors": tuple(f for f in names if f not in split.factors),
        **split.sizes,
    }


def _shared(split: Split, mesh: Mesh, arrays: Any, result: Any) -> dict[str, Spec]:
    """The mesh axes that each factor is split over, where what was decided leaves a choice.

    The first factors come first, and the arrays before the result; a mesh axis splits one factor,
    evenly.
    """
    known = [*zip(split.arrays, arrays, strict=True), (split.result, result)]
    free, shared = set(mesh.axis_names), {}
    for factor in split.factors:
        places = [
            (a.sharding.spec[i], split.sizes.get(factor, a.shape[i]))
            for axes, a in known
            for i, axis in enumerate(axes)
            if _first(axis) == factor
        ]
        # Of an axis that is runs of another, and one of the runs alone, the shorter is the factor.
        length = min((length for _, length in places), default=0)
        for spec, _ in places:
            axes = (spec,) if isinstance(spec, str) else tuple(spec or ())
            if axes and free.issuperset(axes) and length % _count(mesh, axes) == 0:
                shared[factor] = axes
                free.difference_update(axes)
                break
    return shared


def _count(mesh: Mesh, axes: Spec) -> int:
    return int(np.prod([mesh.shape[axis] for axis in axes], dtype=int))
