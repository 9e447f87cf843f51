"""What compiled loops do for a problem, counted: see :mod:`jcnn.lowering.costs`."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from jcnn.lowering import native
from jcnn.lowering import winograd as filtering
from jcnn.lowering.costs import Work, add, forward, memory
from jcnn.lowering.machine import Machine
from jcnn.lowering.native.patches import are_few
from jcnn.lowering.problem import Problem

# Rows, as a share of a vector's elements, below which a product waits for its second factor.
ROWS = 0.4


def compiled(p: Problem) -> bool:
    """Whether compiled loops are there, for images and lines of float32 and of a size.

    Of nothing no block can be made.
    """
    sized = p.known and p.multiplications > 0
    return native.ready() and sized and p.dtype == "float32" and p.geometry.rank <= 2


def native_winograd(p: Problem, machine: Machine) -> Work:
    """Transforms and products of blocks that stay in a core's own cache."""
    q = forward(p)
    g, elements = q.geometry, filtering.tile_elements(q.geometry)
    tiles = q.batch * prod(filtering.tile_counts(g))
    deep, wide, depth = (
        -(-n // machine.vector) * machine.vector
        for n in (q.channels, q.features, q.features // g.groups)
    )
    kernels = elements * q.channels * depth
    done = {
        "filtered": elements * tiles * q.channels * depth,
        "tiled": elements * tiles * (deep + wide) + kernels,
        "woken": 1,
    }
    return add(done, memory(machine, p.bytes, p.inputs, p.outputs, 2 * kernels))


def native_patches(p: Problem, machine: Machine) -> Work:
    """Patches that are read where they lie, one matrix product per group, line and panel."""
    q, calls = _forward(p)
    groups = q.geometry.groups
    whole = groups * -(-q.features // groups // machine.vector) * machine.vector
    if calls == 1 and are_few(q.geometry, q.features, machine.vector):
        whole = 2 * q.features
    terms = q.geometry.taps * q.channels // groups
    read, channels, written = p.outputs, p.features, p.batch * prod(p.geometry.size)
    if p.operation != "input_gradient":
        read, channels, written = p.inputs, p.channels, p.positions
    if groups > 1:  # whose channels are copied by vectors
        read = read // channels * groups * -(-channels // groups // machine.vector) * machine.vector
    done = {
        "filtered": q.positions * terms * whole * _waits(q, calls, machine),
        "gathered": calls * read + written * whole + terms * whole,
        "woken": calls,
    }
    return add(done, memory(machine, p.bytes, p.inputs, p.outputs))


def _waits(q: Problem, calls: int, machine: Machine) -> float:
    """How many times as long products of short lines take, few rows of which share a kernel's."""
    g = q.geometry
    if q.operation == "kernel_gradient" or g.taps == max(g.strides) == 1:
        return 1.0
    width = (g.output if calls == 1 else g.size)[-1] / (1 if calls == 1 else g.strides[-1])
    return max(1.0, ROWS * machine.vector / width)


def native_depthwise(p: Problem, machine: Machine) -> Work:
    """A loop over outputs and taps."""
    q, calls = _forward(p)
    whole = -(-q.channels // machine.vector) * machine.vector
    swept = q.positions * q.geometry.taps * whole
    if p.operation == "kernel_gradient":  # of whole lines
        lines = q.positions // q.geometry.output[-1]
        swept *= machine.cores / min(machine.cores, lines)
    done = {"swept": swept, "woken": calls}
    return add(done, memory(machine, p.bytes, p.inputs, p.outputs))


def _forward(p: Problem) -> tuple[Problem, int]:
    """The correlation whose products a problem takes, and the calls that take them.

    Those of an input gradient at strides are as many as its forward pass takes, a call per residue.
    """
    if p.operation != "input_gradient" or max(p.geometry.strides) == 1:
        return forward(p), 1
    return replace(p, channels=p.features, features=p.channels), prod(p.geometry.strides)


def max_pool(p: Problem, machine: Machine) -> Work:
    """A loop over outputs and elements, each as long as four of a sum; x, written out before it."""
    whole = -(-p.channels // machine.vector) * machine.vector
    outputs = p.batch * prod(p.geometry.output)
    done = {"swept": 4 * outputs * p.geometry.taps * whole, "woken": 1}
    return add(done, memory(machine, p.bytes, 2 * p.inputs, p.outputs))


def scatter(p: Problem, machine: Machine) -> Work:
    """A loop over inputs and the windows that each lies in."""
    g = p.geometry
    whole = -(-p.channels // machine.vector) * machine.vector
    seen = prod(-(-k // s) for k, s in zip(g.window, g.strides, strict=True))
    done = {"swept": p.batch * prod(g.size) * whole * seen, "woken": 1}
    return add(done, memory(machine, p.bytes, p.inputs, p.outputs))


def knows_native(machine: Machine) -> bool:
    """Whether a machine's table has what compiled loops cost."""
    return dict(machine.costs).get("filtered", 0) > 0
