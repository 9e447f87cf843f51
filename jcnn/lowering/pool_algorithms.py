"""The lowerings of pools: what each serves, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from jcnn.lowering import native_costs
from jcnn.lowering.algorithm import Algorithm
from jcnn.lowering.costs import Work, memory
from jcnn.lowering.machine import Machine
from jcnn.lowering.native_costs import compiled
from jcnn.lowering.problem import Problem

# Elements of a window, and windows that an element lies in, up to which a program has operations
# for each: beyond, it would grow with the window, and so would the time that it takes to compile.
UNROLLED = 25
OVERLAPS = 9
# Elements of the largest vectors there are.
LANES = 16


def reach(p: Problem) -> int:
    """Blocks of one stride that a window reaches."""
    return prod(-(-k // s) for k, s in zip(p.geometry.window, p.geometry.strides, strict=True))


def undilated(p: Problem) -> bool:
    """Whether a window's elements are neighbours."""
    return max(p.geometry.dilation) == 1


def small(p: Problem) -> bool:
    """Whether there may be an operation for each element of the window."""
    return p.geometry.taps <= UNROLLED


def spreads(p: Problem) -> bool:
    """Whether there may be an operation for each window that an element lies in."""
    return undilated(p) and reach(p) <= OVERLAPS


def spreads_sums(p: Problem) -> bool:
    """The same where there are no winners to compare."""
    return small(p) or reach(p) <= OVERLAPS


def asks_vectors(p: Problem) -> bool:
    """Whether several windows are in reach, and channels fill vectors: where loops gain."""
    return reach(p) > 1 and p.channels % LANES == 0


def views(p: Problem, machine: Machine) -> Work:
    """One loop over the outputs, that looks at every element of the window."""
    arrays = memory(machine, p.bytes, p.inputs, p.outputs)
    return {"viewed": p.outputs * p.geometry.taps, "started": 2, **arrays}


def doubling(p: Problem, machine: Machine) -> Work:
    """Along each axis, steps of twice as many neighbours."""
    g, size, elements, steps = p.geometry, list(p.geometry.padded), 0, 0
    for axis in range(g.rank):
        each = g.window[axis].bit_length()
        elements += each * p.batch * prod(size) * p.channels
        steps += each
        size[axis] = g.output[axis]
    # A maximum and its winner were measured to take as long as eight sums.
    elements *= 8 if p.operation == "max_pool" else 1
    arrays = memory(machine, p.bytes, p.inputs, p.outputs)
    return {"doubled": elements, "started": steps, **arrays}


def spread(p: Problem, machine: Machine) -> Work:
    """One loop over the inputs, that asks every window in reach."""
    arrays = memory(machine, p.bytes, p.inputs, p.outputs)
    return {"asked": p.inputs * reach(p), "started": 3, **arrays}


def overlap_add(p: Problem, machine: Machine) -> Work:
    """An array for every element of the window, all of them added."""
    arrays = memory(machine, p.bytes, p.inputs, p.outputs)
    return {"added": p.inputs * p.geometry.taps, "started": 2, **arrays}


def placed(p: Problem, machine: Machine) -> Work:
    """Each output goes to, or comes from, its place, one after another."""
    arrays = memory(machine, p.bytes, p.inputs, p.outputs)
    return {"placed": p.outputs, "started": 3, **arrays}


# Of each pool, the first that serves where nothing is weighed: it has been there longest.
_VIEWS = Algorithm("one loop that looks at every element of a window", small, views)
_DOUBLING = Algorithm("steps of twice as many neighbours", undilated, doubling)
_PLACED = Algorithm("each output at its place, one after another", lambda p: True, placed)
_ADDED = Algorithm("an array per element of the window, added", small, overlap_add)
_ANY_VIEWS = replace(_VIEWS, serves=lambda p: small(p) or not undilated(p))
_SPREAD = Algorithm("one loop that asks the windows in reach", spreads, spread)
# A small window's views are part of the loop that computes x; x is written out before this one.
_NATIVE = Algorithm(
    "compiled loops, a vector of channels at a time",
    compiled,
    native_costs.max_pool,
    worthwhile=lambda p: not small(p),
)
_ASKED = Algorithm(
    "compiled loops that ask the windows in reach, a vector of channels at a time",
    compiled,
    native_costs.scatter,
    worthwhile=asks_vectors,
)
POOL_ALGORITHMS = {
    "max_pool": {"views": _ANY_VIEWS, "doubling": _DOUBLING, "native": _NATIVE},
    "window_sum": {"views": _ANY_VIEWS, "doubling": _DOUBLING},
    "gather": {"views": _VIEWS, "placed": _PLACED},
    "scatter": {"spread": _SPREAD, "overlap_add": _ADDED, "placed": _PLACED, "native": _ASKED},
    "window_spread": {
        "spread": replace(_SPREAD, serves=lambda p: undilated(p) and spreads_sums(p)),
        "overlap_add": replace(_ADDED, serves=lambda p: small(p) or not undilated(p)),
        "doubling": _DOUBLING,
    },
}
