r"""Images that are split in space: each device holds a run of rows (and of columns).

Inside ``jax.shard_map``, :func:`split_over` says which mesh axes the images' spatial axes lie
along. Within it every operation is the one on the whole image, and each device computes the part of
its result that is its own::

    mesh = jax.make_mesh((2, 4), ("data", "space"))

    @jax.shard_map(mesh=mesh, in_specs=(P("data", "space"), P()), out_specs=P("data"))
    def logits(x, params):
        with ops.spatial.split_over("space"):           # height over "space", width whole
            y = ops.correlate(x, params["w"], padding="SAME", strides=2)
            y = ops.relu_max_pool(y, 2)                 # still split
            y = ops.spatial.whole(y)                    # gathered: equal on all its devices
        return ops.dense(y.reshape(y.shape[0], -1), params["v"])

Shapes inside are a device's own, (N, H / S, W, C); windows, strides, paddings and their names are
those of the whole image. Split: correlations, convolutions and their transposes, all pools and
``pad`` (what lies beyond a device's part comes by :func:`jcnn.ops.halo_exchange`); global pools,
which add up over the devices. A value per position (a bias of (H, W, D)) is split as its image is.
``batch_norm`` has the statistics of a device's own part, or over its ``axis_name``.

A kernel is the same on all devices, so its gradient is summed over them: by ``shard_map`` itself,
unless ``check_vma=False``. Then, with ``jax.grad`` inside ``shard_map``, that is the caller's
``psum``, and what is differentiated is the sum of all devices' losses: where they all have the
same, as behind :func:`whole`, each must count as its share of it.

What must divide what: for each split axis the number of devices divides the image's size and the
size of each operation's output; an output that is not divided so is refused. "CIRCULAR" padding
goes around the whole image; "REFLECT" and "REPLICATE" are for axes that are whole. Where other axes
of the mesh are left to the compiler (``axis_names`` of ``shard_map``) the numbers are the same, but
a lowering may gather whole batches: give ``shard_map`` all axes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

from jcnn.axes import ZEROS
from jcnn.geometry import Geometry
from jcnn.ops.arguments import mesh_axes, spatial_size
from jcnn.ops.devices import equal_on_all, gathered
from jcnn.ops.halo import Halo, extended, halo_exchange, returned
from jcnn.ops.rule import linear, nothing, rule

__all__ = ["halo_exchange", "split_over", "whole"]

_mesh_axes: ContextVar[tuple[str | None, ...]] = ContextVar("mesh_axes", default=())


@contextmanager
def split_over(*mesh_axes: str | None) -> Iterator[None]:
    """Within the context, images are split in space over mesh axes of ``jax.shard_map``.

    It holds for what is traced within; gradients need no context of their own. An image that
    ``shard_map`` knows to be equal on all devices of a mesh axis, as after :func:`whole`, is whole.

    Args:
        mesh_axes: The mesh axis that the first spatial axis is split over, that of the second, …;
            None for one that is whole, as all are that no argument names.
    """
    token = _mesh_axes.set(mesh_axes)
    try:
        yield
    finally:
        _mesh_axes.reset(token)


def axes_of(x: jax.Array) -> dict[int, str]:
    """The axes of an image along which it is split, and over which mesh axes."""
    named = dict(enumerate(_mesh_axes.get()[: max(0, x.ndim - 2)], 1))
    named = {i: name for i, name in named.items() if name is not None}
    mesh_axes("split_over's mesh_axes", *named.values())
    return {i: name for i, name in named.items() if not equal_on_all(name, x)}


def size_of(x: jax.Array) -> tuple[int, ...]:
    """Return the spatial axes' lengths of the whole image of which ``x`` is a part."""
    counts = {i: lax.axis_size(name) for i, name in axes_of(x).items()}
    return tuple(n * counts.get(i, 1) for i, n in enumerate(spatial_size(x), 1))


@dataclass(frozen=True)
class Part:
    """What the windows of one device see of a split axis: a run of the whole image's elements.

    Attributes:
        halo: The exchange that brings what isn't the device's own.
        first: Where the first device's run begins in what it then has.
        step: How much later that of each next device does.
        length: Elements of a run.
    """

    halo: Halo
    first: int
    step: int
    length: int

    @classmethod
    def of(cls, g: Geometry, axis: int, mesh_axis: str) -> Part:
        """The part of an axis, from the windows over the whole image."""
        i, count = axis - 1, lax.axis_size(mesh_axis)
        _check(g, i, mesh_axis, count)
        own, outputs = g.size[i] // count, g.output[i] // count
        step = g.strides[i] * outputs - own
        length = g.strides[i] * (outputs - 1) + g.span[i]
        starts = [-g.padding[i][0] + step * device for device in (0, count - 1)]
        before = max(0, *(-start for start in starts))
        after = max(0, *(start + length - own for start in starts))
        circular = g.fill == "CIRCULAR"
        halo = Halo(axis, mesh_axis, count, own, before, after, circular)
        return cls(halo, starts[0] + before, step, length)

    @property
    def seen(self) -> int:
        """Elements that a device has after the exchange."""
        return self.halo.before + self.halo.size + self.halo.after

    def within(self, g: Geometry) -> Geometry:
        """The same windows over the run alone, which needs no padding."""
        i = self.halo.axis - 1
        size, padding = list(g.size), list(g.padding)
        size[i], padding[i] = self.length, (0, 0)
        return replace(g, size=tuple(size), padding=tuple(padding))

    def start(self) -> jax.Array:
        """Where this device's run begins."""
        return self.first + self.step * lax.axis_index(self.halo.mesh_axis)


Parts: TypeAlias = tuple[Part, ...]


def _check(g: Geometry, i: int, mesh_axis: str, count: int) -> None:
    for what, n in (("image", g.size[i]), ("output", g.output[i])):
        if n % count:
            raise ValueError(
                f"the {count} devices of mesh axis '{mesh_axis}' must divide the {what}'s axis "
                f"{i + 1} that is split over them, found {n} elements"
            )
    if g.fill not in (ZEROS, "CIRCULAR"):
        raise ValueError(
            f"padding {g.fill} goes with whole axes, found axis {i + 1} split over '{mesh_axis}'"
        )


def parts_of(g: Geometry, x: jax.Array) -> Parts:
    """The parts that a device's windows see of the axes that an image is split along."""
    return tuple(Part.of(g, axis, name) for axis, name in axes_of(x).items())


def windows_of(g: Geometry, parts: Parts) -> Geometry:
    """A device's own windows, over its parts."""
    for part in parts:
        g = part.within(g)
    return g


def exchanged(parts: Parts, x: jax.Array) -> jax.Array:
    """What a device's windows see of the image."""
    for part in parts:
        x = _cut(part, extended(part.halo, x))
    return x


def combined(parts: Parts, dx: jax.Array) -> jax.Array:
    """Adjoint of :func:`exchanged`."""
    for part in reversed(parts):
        dx = returned(part.halo, _placed(part, dx))
    return dx


@linear
def _cut(part: Part, x: jax.Array) -> jax.Array:
    axis = part.halo.axis
    if not part.step:
        return lax.slice_in_dim(x, part.first, part.first + part.length, axis=axis)
    return lax.dynamic_slice_in_dim(x, part.start(), part.length, axis)


@_cut.adjoint
def _placed(part: Part, dy: jax.Array) -> jax.Array:
    axis = part.halo.axis
    if not part.step:
        edges = [(0, 0, 0)] * dy.ndim
        edges[axis] = (part.first, part.seen - part.first - part.length, 0)
        return lax.pad(dy, jnp.zeros((), dy.dtype), edges)
    shape = (*dy.shape[:axis], part.seen, *dy.shape[axis + 1 :])
    return lax.dynamic_update_slice_in_dim(jnp.zeros(shape, dy.dtype), dy, part.start(), axis)


def own(size: tuple[int, ...], parts: Parts) -> tuple[int, ...]:
    """A device's share of an image's or an output's spatial size."""
    counts = {part.halo.axis: part.halo.count for part in parts}
    return tuple(n // counts.get(axis, 1) for axis, n in enumerate(size, 1))


def own_run(parts: Parts, axis: int, a: jax.Array) -> jax.Array:
    """A device's share of a value per output along one axis."""
    for part in parts:
        if part.halo.axis == axis:
            length = a.shape[axis] // part.halo.count
            start = length * lax.axis_index(part.halo.mesh_axis)
            a = lax.dynamic_slice_in_dim(a, start, length, axis)
    return a


def filled(parts: Parts, value: float, x: jax.Array) -> jax.Array:
    """What a device's windows see, with a value beyond the image's ends."""
    for part in parts:
        if not part.halo.circular:
            x = _filled(part, value, x)
    return x


@rule(keeps=nothing, statics=2)
def _filled(part: Part, value: float, x: jax.Array) -> jax.Array:
    return lax.select(_inside(part, x), x, lax.full_like(x, value))


@_filled.pullback
def _(part: Part, value: float, dy: jax.Array) -> jax.Array:
    return lax.select(_inside(part, dy), dy, lax.full_like(dy, 0))


def _inside(part: Part, x: jax.Array) -> jax.Array:
    """Whether each element of a device's run is one of the image."""
    halo = part.halo
    first = halo.size * lax.axis_index(halo.mesh_axis) - halo.before + part.start()
    place = first + lax.broadcasted_iota(jnp.int32, x.shape, halo.axis)
    return (place >= 0) & (place < halo.size * halo.count)


def places(split: tuple[tuple[int, str], ...], x: jax.Array) -> tuple[jax.Array, int]:
    """Where each element stands among the whole image's positions, in row order; their number."""
    names, place, count = dict(split), jnp.zeros((), jnp.int32), 1
    for axis in range(x.ndim - 2, 0, -1):
        n, name = x.shape[axis], names.get(axis)
        first = n * lax.axis_index(name) if name else 0
        place = place + count * (first + lax.broadcasted_iota(jnp.int32, x.shape, axis))
        count *= n * (lax.axis_size(name) if name else 1)
    return place, count


def whole(x: jax.Array) -> jax.Array:
    """Gather an image that is split over devices; outside of :func:`split_over`, ``x`` itself.

    Args:
        x: A device's part, (N, *part, C).

    Returns:
        The whole image, (N, *size, C), equal on all devices that it was split over.

    Gradient:
        Each device's own part of the cotangent. Nothing is kept between the passes.
    """
    for axis, name in axes_of(x).items():
        x = gathered(axis, name, x)
    return x
