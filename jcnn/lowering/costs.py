"""What a lowering does for a problem, counted, and what a machine takes for it.

A lowering's work is a count of each kind in :data:`KINDS`; a machine's table says how many
nanoseconds one of each takes. ``jcnn tune`` finds these by measuring lowerings of many problems.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

from jcnn.geometry import Geometry
from jcnn.lowering import direct as direct_sums
from jcnn.lowering import patches as patch_products
from jcnn.lowering import winograd as filtering
from jcnn.lowering.blocks import block_size
from jcnn.lowering.fold import Fold
from jcnn.lowering.machine import Machine
from jcnn.lowering.problem import TINY, Problem
from jcnn.lowering.windows import adjoint

KINDS = {
    "multiplied": "a multiply-add of a matrix product, its columns rounded up to whole vectors",
    "prepared": "an element of a factor that a matrix product rearranges",
    "written": "an element of a product's result, once for each part of a long sum",
    "convolved": "a multiply-add of XLA's convolution",
    "packed": "an element of a patch that XLA's convolution packs, by vectors",
    "picked": "the same by elements, where channels fill no vectors",
    "spaced": "a multiply-add of an input gradient at a stride, between zeros",
    "copied": "an element of patches written out",
    "exchanged": "an element of an array whose axes change places",
    "summed": "a multiply-add of a fused loop",
    "guarded": "a multiply-add of a loop that asks whether it is in the padding",
    "looped": "a multiply-add of a convolution that is a plain loop",
    "added": "an element added to overlapping ones",
    "reduced": "a multiply-add of a sum over all positions",
    "transformed": "an element of a tile that minimal filtering transforms, and axis",
    "filtered": "a multiply-add of compiled loops, its columns rounded up to whole vectors",
    "tiled": "an element of a tile that compiled loops transform, channels up to whole vectors",
    "gathered": "an element that compiled loops read, with its edges, or write",
    "swept": "a multiply-add of compiled loops over channels, up to whole vectors",
    "woken": "a call of compiled loops, which wakes all cores",
    "viewed": "an element of a window that a pool looks at",
    "doubled": "an element of an array that is combined with its neighbours, and step",
    "asked": "an element of a pool's input, and window that may have chosen it",
    "placed": "an element that goes to a place of its own",
    "moved": "a byte of arrays that are larger than the cache",
    "called": "a convolution of XLA's that starts",
    "started": "an operation that starts on all cores",
    "begun": "an operation of a small example, that starts on one",
}
NANOSECONDS = 1e-9
# Multiply-adds below which operations don't wake other cores.
SMALL = 750_000
# Terms of a sum that a matrix product adds up before it writes.
PART = 256
Work = Mapping[str, float]


def seconds(work: Work, machine: Machine) -> float:
    """What a machine takes for this work: all cores share it, but for starting and moving."""
    per_unit = dict(machine.costs)
    shared = machine.costs_cores / machine.cores
    alone = ("moved", "started", "woken")
    total = sum(
        count * per_unit.get(kind, 0.0) * (1 if kind in alone else shared)
        for kind, count in work.items()
    )
    return total * NANOSECONDS


def add(*works: Work) -> Work:
    """Return all of them together.

    >>> add({"copied": 1, "started": 1}, {"started": 2})
    {'copied': 1, 'started': 3}
    """
    total: dict[str, float] = {}
    for work in works:
        for kind, count in work.items():
            total[kind] = total.get(kind, 0) + count
    return total


def product(rows: int, terms: int, columns: int, machine: Machine, count: int = 1) -> Work:
    """The work of ``count`` matrix products, (rows, terms) by (terms, columns)."""
    whole = -(-columns // machine.vector) * machine.vector
    return {
        "multiplied": count * rows * terms * whole,
        "prepared": count * terms * (rows + columns),
        "written": count * rows * columns * -(-terms // PART),
        "started": 1,
    }


def memory(machine: Machine, size: int, *elements: int) -> Work:
    """The traffic of arrays that no cache holds; within the cache it is part of all else."""
    total = size * sum(elements)
    return {"moved": total} if total > machine.cache_bytes / 2 else {}


def forward(p: Problem) -> Problem:
    """At stride 1 an input gradient is a correlation of the outputs."""
    if p.operation != "input_gradient":
        return p
    g = adjoint(p.geometry)
    return replace(p, geometry=g, channels=p.features, features=p.channels)


def _padded(p: Problem) -> Work:
    """The work of adding the padding."""
    g = p.geometry
    if not any(map(any, g.padding)):
        return {}
    return {"summed": p.batch * prod(g.padded) * p.channels, "started": 1}


def _blocks(batch: int, image_bytes: int, share: float, machine: Machine) -> int:
    size = block_size(batch, image_bytes, int(share * machine.cache_bytes))
    return -(-batch // max(size, 1))


def patches(p: Problem, machine: Machine) -> Work:
    """Patches axis by axis, one matrix product a block."""
    kernel = p.operation == "kernel_gradient"
    q = forward(p)
    g, n, columns = q.geometry, q.batch, q.geometry.taps * q.channels
    ends = (min(columns, q.features), max(columns, q.features))
    done = (
        product(ends[0], q.positions, ends[1], machine)
        if kernel
        else product(q.positions, columns, q.features, machine)
    )
    if g.taps == 1 and max(g.strides) == 1:
        return add(done, _padded(q), memory(machine, p.bytes, p.inputs, p.outputs))
    blocks = _blocks(n, prod(g.output) * columns * q.bytes, patch_products.SHARE, machine)
    if g.taps == 1 and not kernel:
        blocks = 1
    started = {"started": blocks * (sum(g.window) + 2)}
    return add(done, _padded(q), _copies(q), started, memory(machine, p.bytes, p.inputs, p.outputs))


def _copies(p: Problem) -> Work:
    """Patches are built from the last axis to the first."""
    g, size, run, elements = p.geometry, list(p.geometry.padded), p.channels, 0
    for axis in reversed(range(g.rank)):
        size[axis] = g.output[axis]
        run *= g.window[axis]
        elements += p.batch * prod(size) * run
    return {"copied": elements}


def _convolution(
    n: int, output: tuple[int, ...], terms: tuple[int, int], features: int, machine: Machine
) -> Work:
    """The work of an XLA convolution of n images, of ``terms`` (taps, channels) a sum."""
    positions, columns = n * prod(output), prod(terms)
    whole = -(-features // machine.vector) * machine.vector
    packing = "picked" if terms[1] % machine.vector else "packed"
    done = {
        "convolved": positions * columns * whole,
        "written": positions * features,
        "called": 1,
    }
    # Along a single axis a patch is one run of memory, and nothing is packed.
    return done if len(output) == 1 else done | {packing: positions * columns}


def xla(p: Problem, machine: Machine) -> Work:
    """A single XLA convolution."""
    g, arrays = p.geometry, memory(machine, p.bytes, p.inputs, p.outputs)
    if g.groups > 1:
        return add({"spaced": p.multiplications, "called": 1}, arrays)
    if p.operation == "input_gradient":
        done = _convolution(p.batch, g.size, (g.taps, p.features), p.channels, machine)
        if max(g.strides) > 1:
            done = {"spaced": p.multiplications, "written": p.inputs, "called": 1}
        return add(done, {"exchanged": p.weights, "started": 1}, arrays)
    return add(_convolution(p.batch, g.output, (g.taps, p.channels), p.features, machine), arrays)


def transposed(p: Problem, machine: Machine) -> Work:
    """One convolution whose images are the channels, and three transposes."""
    g = p.geometry
    done = _convolution(p.channels, g.window, (prod(g.output), p.batch), p.features, machine)
    moved = {"exchanged": p.inputs + p.outputs + p.weights, "started": 3}
    return add(done, moved, memory(machine, p.bytes, p.inputs, p.outputs))


def overlap_add(p: Problem, machine: Machine) -> Work:
    """One product, whose columns are added where their windows overlap."""
    g = p.geometry
    parts = p.positions * g.taps * p.channels
    done = product(p.positions, p.features, g.taps * p.channels, machine)
    if g.taps > 1:
        added = p.inputs * g.taps
        # A few positions are padded one by one.
        done = add(done, {"added": added, "started": g.taps if p.positions <= TINY else 2})
    return add(done, memory(machine, p.bytes, parts, p.inputs, p.outputs))


def winograd(p: Problem, machine: Machine) -> Work:
    """Two transforms, a product for each element of a tile, and a transform back."""
    added = p.operation == "input_gradient" and filtering.by_tiles_of_outputs(p.geometry)
    q = p if added else forward(p)
    g, elements = q.geometry, filtering.tile_elements(q.geometry)
    per_image = prod(filtering.tile_counts(g))
    tiles, ends = q.batch * per_image, (q.channels // g.groups, q.features // g.groups)
    done = (
        product(ends[0], tiles, ends[1], machine, elements * g.groups)
        if p.operation == "kernel_gradient"
        else product(tiles, *ends, machine, elements * g.groups)
    )
    kernels = elements * ends[0] * q.features
    share = filtering.SHARE
    share = max(share, min(4 * kernels * p.bytes / machine.cache_bytes, 4 * share))
    image = elements * per_image * (q.channels + q.features) * p.bytes
    blocks = _blocks(q.batch, image, share, machine)
    moved = elements * tiles * (q.channels + q.features) + kernels
    # About as many loops for the transforms, each over its own part of a block.
    started = {"transformed": moved, "started": 12 * blocks}
    return add(done, started, memory(machine, p.bytes, p.inputs, p.outputs))


def direct(p: Problem, machine: Machine) -> Work:
    """A loop over the results for each element of the kernel, all of them fused."""
    g = p.geometry
    c, d = p.channels // g.groups, p.features // g.groups
    arrays = memory(machine, p.bytes, p.inputs, p.outputs)
    done = add({"started": 2}, _padded(p), arrays)
    if p.operation == "correlate":
        return add(done, {_in_loop(g): p.multiplications})
    if p.operation == "kernel_gradient":
        image = (prod(g.size) * p.channels + prod(g.output) * p.features) * p.bytes
        blocks = _blocks(p.batch, image, direct_sums.SHARE, machine)
        started = g.taps * c * blocks
        return add(done, {"reduced": p.multiplications, "started": started})
    if max(g.strides) == 1:
        return add(done, {_in_loop(adjoint(g)): p.inputs * d * g.taps})
    return add(done, {"summed": p.multiplications, "added": p.inputs * g.taps})


def depthwise(p: Problem, machine: Machine) -> Work:
    """A loop over the results that asks at every tap whether it is within the image."""
    count = p.inputs if p.operation == "input_gradient" else p.outputs
    arrays = memory(machine, p.bytes, p.inputs, p.outputs)
    return {"looped": count * p.geometry.taps, "called": 1, **arrays}


def _in_loop(g: Geometry) -> str:
    return "guarded" if any(map(any, g.padding)) else "summed"


def folded(p: Problem, odd: bool = False) -> Problem:
    """The problem between folded arrays."""
    f = Fold.of(p.geometry, p.channels, p.features, odd)
    channels, features = p.channels * prod(f.block), p.features * prod(f.outputs)
    return replace(p, geometry=f.folded, channels=channels, features=features)


def fold(
    base: Callable[[Problem, Machine], Work], odd: bool = False
) -> Callable[[Problem, Machine], Work]:
    """The work of a lowering between folded arrays, and of folding them."""

    def work(p: Problem, machine: Machine) -> Work:
        q = folded(p, odd)
        f = Fold.of(p.geometry, p.channels, p.features, odd)
        # The last axis alone is folded without moving anything.
        moves = any(b > 1 for b in f.block[:-1])
        exchanged = q.weights + (q.inputs if moves else 0)
        return add(base(q, machine), {"exchanged": exchanged, "summed": q.inputs, "started": 4})

    return work


def grouped(p: Problem, machine: Machine) -> Work:
    """What it takes to part the groups and to put them together again."""
    started = 3 + 2 * p.geometry.groups
    return {"exchanged": p.inputs + p.outputs + p.weights, "started": started}
