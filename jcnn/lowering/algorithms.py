"""The lowerings of the three correlations: what each serves, and what it costs.

A lowering serves a problem where its module can compute it. It is eligible where, beyond that, it
keeps the promises that none may break: a program that does not grow with the window, results that
depend on their own windows alone where that is asked for, and the same speed inside XLA's loops.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from jcnn.geometry import Geometry
from jcnn.lowering import costs, depthwise, native, native_costs
from jcnn.lowering.algorithm import Algorithm
from jcnn.lowering.costs import Work
from jcnn.lowering.fold import Fold
from jcnn.lowering.machine import Machine
from jcnn.lowering.native.building import WINDOWS
from jcnn.lowering.native.residues import divides
from jcnn.lowering.native_costs import compiled
from jcnn.lowering.policy import Policy
from jcnn.lowering.pool_algorithms import POOL_ALGORITHMS
from jcnn.lowering.problem import Problem
from jcnn.lowering.windows import UNROLLED
from jcnn.lowering.winograd import TILE

# Lowerings of each group by itself, by whatever costs least.
GROUPED = ("grouped", "native_grouped")
# Channels of a group up to which sums of shifted products may be unrolled.
FEW = 4


def _single(p: Problem) -> bool:
    return p.geometry.groups == 1


def _is_unit(p: Problem) -> bool:
    return max(p.geometry.strides) == 1


def _backward(p: Problem) -> bool:
    return p.operation == "input_gradient"


def _foldable(p: Problem) -> bool:
    return _single(p) and max(p.geometry.dilation) == 1


def _folded(p: Problem) -> Problem:
    return costs.folded(p)


def _strides_folded(p: Problem) -> Geometry:
    return Fold.of(p.geometry, p.channels, p.features, odd=True).folded


def _halves_products(p: Problem) -> bool:
    """Whether strides leave a window that minimal filtering halves the products of, at least."""
    g = p.geometry
    blocks = ((TILE + k - 1) / TILE for k in _strides_folded(p).window)
    return g.rank == 2 and min(g.strides) > 1 and g.taps >= 2 * prod(blocks) * prod(g.strides)


def _fold_local(p: Problem) -> bool:
    g = p.geometry
    whole = not any(k % s for k, s in zip(g.window, g.strides, strict=True))
    return whole and Fold.of(g, p.channels, p.features).single


def _folds(p: Problem) -> bool:
    """Whether a fold moves anything: else it is its base."""
    return not (_is_unit(p) and Fold.of(p.geometry, p.channels, p.features).single)


def _filters(p: Problem) -> bool:
    g = p.geometry
    small = max(g.window) <= 5 and all(k % 2 for k in g.window)
    return max(g.dilation) == 1 and _is_unit(p) and small


def _compiled_window(g: Geometry) -> bool:
    return g.window in [(k, k) for k in WINDOWS]


def _adjoint_is_forward(p: Problem) -> bool:
    return not _backward(p) or divides(p.geometry)


def _single_channels(p: Problem) -> bool:
    return p.channels == p.features == p.geometry.groups


def _xla_steady(p: Problem) -> bool:
    """Kernel gradients and groups leave the fast path inside loops, kernel gradients everywhere."""
    return _single(p) and p.operation != "kernel_gradient"


def _direct_operations(p: Problem) -> int:
    g = p.geometry
    # Of groups a large window is added in a loop; without them it is a matrix product's.
    return min(g.taps, UNROLLED) if g.groups > 1 else g.taps * p.channels


ALGORITHMS = {
    "xla": Algorithm(
        "XLA's convolution packs its patches in cache",
        lambda p: True,
        costs.xla,
        steady=_xla_steady,
    ),
    "direct": Algorithm(
        "sums of shifted products, one fused loop",
        lambda p: True,
        costs.direct,
        operations=_direct_operations,
        worthwhile=lambda p: p.channels // p.geometry.groups <= FEW,
    ),
    "depthwise": Algorithm(
        "a convolution that XLA leaves as a plain loop over all channels",
        lambda p: not _single(p) and p.operation != "kernel_gradient",
        costs.depthwise,
        worthwhile=lambda p: _single_channels(p) and p.geometry.taps <= depthwise.TAPS,
    ),
    "grouped": Algorithm(
        "each group is a correlation of its own",
        lambda p: not _single(p),
        costs.grouped,
        worthwhile=lambda p: p.channels > p.geometry.groups,
    ),
    "patches": Algorithm(
        "blocks of patches stay in cache, one matrix product each",
        lambda p: _single(p) and (_is_unit(p) or not _backward(p)),
        costs.patches,
        operations=lambda p: sum(p.geometry.window),
    ),
    "transposed": Algorithm(
        "XLA's convolution laid out so that it is fast inside loops as well",
        lambda p: _single(p) and p.operation == "kernel_gradient",
        costs.transposed,
    ),
    "overlap_add": Algorithm(
        "one matrix product, then a sum per tap",
        lambda p: _single(p) and _backward(p),
        costs.overlap_add,
        operations=lambda p: p.geometry.taps,
    ),
    "fold": Algorithm(
        "strides or outputs folded into channels, then patches",
        _foldable,
        costs.fold(costs.patches),
        operations=lambda p: sum(_folded(p).geometry.window),
        local=_fold_local,
        worthwhile=_folds,
    ),
    "fold_xla": Algorithm(
        "strides or outputs folded into channels, then XLA's convolution",
        _foldable,
        costs.fold(costs.xla),
        steady=_xla_steady,
        local=_fold_local,
        worthwhile=_folds,
    ),
    "fold_overlap_add": Algorithm(
        "strides or outputs folded into channels, then a product and a sum per tap",
        lambda p: _foldable(p) and _backward(p),
        costs.fold(costs.overlap_add),
        operations=lambda p: _folded(p).geometry.taps,
        local=_fold_local,
        worthwhile=_folds,
    ),
    "fold_winograd": Algorithm(
        "strides folded into channels, then minimal filtering: fewer products",
        lambda p: _foldable(p) and not _is_unit(p) and max(_strides_folded(p).window) <= 5,
        costs.fold(costs.winograd, odd=True),
        local=lambda p: False,
        # Of every input gradient measured XLA's is as fast, or up to half as fast again.
        worthwhile=lambda p: _halves_products(p) and not _backward(p),
    ),
    "winograd": Algorithm(
        "minimal filtering: fewer products",
        _filters,
        costs.winograd,
        local=lambda p: False,
        worthwhile=lambda p: p.geometry.rank == 2 and max(p.geometry.window) > 1,
    ),
    "native_winograd": Algorithm(
        "minimal filtering in compiled loops: blocks stay in a core's cache",
        lambda p: compiled(p) and _filters(p) and _compiled_window(p.geometry),
        native_costs.native_winograd,
        local=lambda p: False,
        worthwhile=lambda p: not _single_channels(p),
    ),
    "fold_native_winograd": Algorithm(
        "strides folded into channels, then minimal filtering in compiled loops",
        lambda p: (
            compiled(p)
            and _foldable(p)
            and not _is_unit(p)
            and _compiled_window(_strides_folded(p))
        ),
        costs.fold(native_costs.native_winograd, odd=True),
        local=lambda p: False,
        worthwhile=_halves_products,
    ),
    "native_patches": Algorithm(
        "patches read where they lie, in compiled loops: blocks stay in a core's cache",
        lambda p: compiled(p) and _adjoint_is_forward(p),
        native_costs.native_patches,
        worthwhile=lambda p: not _single_channels(p),
    ),
    "native_grouped": Algorithm(
        "each group is a correlation of its own, in compiled loops",
        lambda p: compiled(p) and not _single(p),
        costs.grouped,
        worthwhile=lambda p: p.channels > p.geometry.groups,
    ),
    "native_depthwise": Algorithm(
        "each channel by itself in compiled loops, a vector of channels at a time",
        lambda p: compiled(p) and _single_channels(p) and _adjoint_is_forward(p),
        native_costs.native_depthwise,
        worthwhile=lambda p: not _single(p),
    ),
}


def serving(operation: str) -> dict[str, Algorithm]:
    """The lowerings of an operation by name."""
    return POOL_ALGORITHMS.get(operation, ALGORITHMS)


def is_native(name: str) -> bool:
    """Whether a lowering is compiled loops."""
    return "native" in name


def applicable(operation: str, g: Geometry) -> tuple[str, ...]:
    """The lowerings that can serve an operation."""
    problem = Problem(operation, g, 1, g.groups, g.groups)
    return tuple(name for name, a in serving(operation).items() if a.serves(problem))


def eligible(problem: Problem, policy: Policy) -> tuple[str, ...]:
    """The lowerings that the choice is between; at least one."""
    along_time = problem.geometry.rank == 1 and problem.operation != "kernel_gradient"
    kept_apart = along_time or policy.local

    def may(name: str, a: Algorithm) -> bool:
        if not (a.serves(problem) and a.worthwhile(problem) and a.steady(problem)):
            return False
        if name.endswith("winograd") and (problem.dtype == "float64" or not policy.winograd):
            return False
        if is_native(name) and not policy.native:
            return False
        if a.operations(problem) > UNROLLED:
            return False
        return a.local(problem) or not kept_apart

    return tuple(name for name, a in serving(problem.operation).items() if may(name, a))


def predicted(name: str, problem: Problem, policy: Policy) -> float:
    """What a lowering's work takes on the policy's machine, in seconds."""
    taken = costs.seconds(work(name, problem, policy.on), policy.on)
    if name not in GROUPED:
        return taken
    one, asked = problem.one_group(), replace(policy, native=is_native(name))
    inner = min(predicted(n, one, asked) for n in eligible(one, asked))
    return taken + problem.geometry.groups * inner


def rounded_share(name: str, problem: Problem, policy: Policy) -> float:
    """Of a lowering's time in float32, the share where factors may be rounded to bfloat16.

    Minimal filtering of 3×3 windows in compiled loops then takes two multiply-adds at once.
    """
    if not (policy.rounded and name.endswith("native_winograd") and native.rounds()):
        return 1.0
    folded = name.startswith("fold")
    if (_strides_folded(problem) if folded else problem.geometry).window != (3, 3):
        return 1.0
    counted = work(name, problem, policy.on)
    rounded = {**counted, "filtered": counted["filtered"] / 2}
    return costs.seconds(rounded, policy.on) / costs.seconds(counted, policy.on)


def work(name: str, problem: Problem, machine: Machine) -> Work:
    """What a lowering does for a problem."""
    counted = serving(problem.operation)[name].work(problem, machine)
    if problem.multiplications >= costs.SMALL:
        return counted
    return {("begun" if kind == "started" else kind): n for kind, n in counted.items()}
