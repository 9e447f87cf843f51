r"""The halo exchange: what a device's windows see beyond its own part of an image, and its adjoint.

With device :math:`i` of a mesh axis holding the elements :math:`i n, …, i n + n - 1` of an axis of
the whole image :math:`x`, which is zero beyond its ends:

.. math:: y_i[j] = x[i n + j - b], \qquad 0 \le j < b + n + a

Every element is copied to the devices that see it. So its gradient is the sum over these copies:
what arrived from a neighbour goes back to it, and is added there,

.. math:: \partial L/\partial x[k] = \sum_i \delta_i[k - i n + b],

and what came from beyond the image's ends goes nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jcnn.axes import integer
from jcnn.ops.arguments import floating, mesh_axes, naming
from jcnn.ops.rule import linear
from jcnn.precision import in_float32


def halo_exchange(
    x: ArrayLike, axis: int, mesh_axis: str, before: int, after: int, *, circular: bool = False
) -> jax.Array:
    r"""Give each device the elements before and after its own, from the devices that have them.

    .. math:: y_i[j] = x[i n + j - b]

    Inside ``jax.shard_map``, for device :math:`i` of a mesh axis, of whose axis of the whole array
    each device holds :math:`n` elements.

    Args:
        x: A device's own part, floating point.
        axis: The axis that is split; each device holds as many elements of it.
        mesh_axis: The mesh axis over whose devices it is split, in their order.
        before: :math:`b`, elements of the devices before; any number.
        after: :math:`a`, elements of the devices behind.
        circular: Whether the whole array goes on at its other end; else it is zero beyond both.

    Returns:
        The same with :math:`b + n + a` elements along the axis.

    Raises:
        TypeError: ``x`` is not floating point, or a count not an integer.
        ValueError: A count is negative, there is no such axis of ``x``, or no such mesh axis here.

    Gradient:
        .. math:: \partial L/\partial x[k] = \sum_i \delta_i[k - i n + b]

        The adjoint: what arrived from a neighbour goes back to it and is added there. Nothing is
        kept between the passes. In each direction, and each way, a device sends as many elements
        as it receives, to the next device alone unless ``before`` or ``after`` exceed :math:`n`.

    >>> import jax, jax.numpy as jnp
    >>> mesh = jax.make_mesh((1,), ("space",), axis_types=(jax.sharding.AxisType.Auto,))
    >>> exchange = lambda x: halo_exchange(x, 0, "space", 1, 2)
    >>> rows = jax.P("space")
    >>> jax.shard_map(exchange, mesh=mesh, in_specs=rows, out_specs=rows)(jnp.array([1.0, 2.0]))
    Array([0., 1., 2., 0., 0.], dtype=float32)
    """
    (x,) = floating("halo_exchange", x=x)
    with naming("halo_exchange"):
        place = integer("axis", axis, -x.ndim)
        if place >= x.ndim:
            raise ValueError(f"axis must be one of x's {x.ndim} axes, found {axis}")
        mesh_axes("mesh_axis", mesh_axis)
        count = lax.axis_size(mesh_axis)
        place %= x.ndim
        edges = integer("before", before, 0), integer("after", after, 0)
    halo = Halo(place, mesh_axis, count, x.shape[place], *edges, circular)
    return extended(halo, varying(x, mesh_axis))


def varying(x: jax.Array, *mesh_axes: str) -> jax.Array:
    """``x`` as one that differs between devices, where ``shard_map`` tracks that."""
    known = jax.typeof(x).manual_axis_type.varying
    return lax.pcast(x, tuple(a for a in mesh_axes if a not in known), to="varying")


class Hop(NamedTuple):
    """A run of elements that another device has.

    Attributes:
        device: How many devices further on; negative before.
        first: The run's first element, of that device's own.
        length: How many elements.
        place: Where they stand in the device's part with what surrounds it.
    """

    device: int
    first: int
    length: int
    place: int


@dataclass(frozen=True)
class Halo:
    """What surrounds a device's part of an axis.

    Attributes:
        axis: The array's axis.
        mesh_axis: The mesh axis that it is split over.
        count: Devices along it.
        size: Elements that each holds.
        before: Elements more in front.
        after: Elements more behind.
        circular: Whether the last device is before the first one.
    """

    axis: int
    mesh_axis: str
    count: int
    size: int
    before: int
    after: int
    circular: bool = False

    @property
    def hops(self) -> Iterator[Hop]:
        """Where what surrounds a device's part comes from, in the order of its elements."""
        n = self.size
        if not n:  # no device has any
            return
        for k in range(-(-self.before // n), 0, -1):
            length = min(n, self.before - (k - 1) * n)
            yield Hop(-k, n - length, length, self.before - (k - 1) * n - length)
        for k in range(1, -(-self.after // n) + 1):
            yield Hop(k, 0, min(n, self.after - (k - 1) * n), self.before + k * n)

    def pairs(self, offset: int) -> list[tuple[int, int]]:
        """From each device that has one ``offset`` further on, to that one."""
        every = ((i, i + offset) for i in range(self.count))
        if self.circular:
            return [(i, j % self.count) for i, j in every]
        return [(i, j) for i, j in every if 0 <= j < self.count]

    def move(self, part: jax.Array, offset: int) -> jax.Array:
        """Each device's part to the one ``offset`` further on; zeros where none comes from."""
        pairs = self.pairs(offset)
        return lax.ppermute(part, self.mesh_axis, pairs) if pairs else jnp.zeros_like(part)


@linear
def extended(halo: Halo, x: jax.Array) -> jax.Array:
    """A device's part with what surrounds it."""
    if not halo.size:
        edges = [(0, 0, 0)] * x.ndim
        edges[halo.axis] = (halo.before, halo.after, 0)
        return lax.pad(x, jnp.zeros((), x.dtype), edges)
    found = [
        (hop, halo.move(_run(halo, x, hop.first, hop.length), -hop.device)) for hop in halo.hops
    ]
    before = [part for hop, part in found if hop.device < 0]
    after = [part for hop, part in found if hop.device > 0]
    return lax.concatenate([*before, x, *after], halo.axis)


@extended.adjoint
def returned(halo: Halo, dy: jax.Array) -> jax.Array:
    """Each device's part of the sum over the copies of its elements."""
    own = _run(halo, dy, halo.before, halo.size)
    back = [halo.move(_run(halo, dy, hop.place, hop.length), hop.device) for hop in halo.hops]
    return _added_up(halo, own, *back)


@in_float32
def _added_up(halo: Halo, dx: jax.Array, *back: jax.Array) -> jax.Array:
    for hop, part in zip(halo.hops, back, strict=True):
        edges = [(0, 0, 0)] * dx.ndim
        edges[halo.axis] = (hop.first, halo.size - hop.first - hop.length, 0)
        dx = dx + lax.pad(part, jnp.zeros((), part.dtype), edges)
    return dx


def _run(halo: Halo, a: jax.Array, first: int, length: int) -> jax.Array:
    return lax.slice_in_dim(a, first, first + length, axis=halo.axis)
