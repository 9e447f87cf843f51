"""Problems that lowerings are measured on: drawn ones, and those of an experiment."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcnn import lowering
from jcnn.benchmark.operations import in_scan
from jcnn.benchmark.timing import Subject, call_subject
from jcnn.geometry import Geometry
from jcnn.lowering import Problem, compiler_options
from jcnn.lowering.pools import winner_dtype
from jcnn.lowering.problem import CORRELATIONS, POOLS

# Multiply-adds of a drawn problem, and bytes of its arrays: milliseconds each.
WORK, BYTES = (3_000_000, 1_500_000_000), 80_000_000
# One in so many is a single small example, as networks have that learn online.
SMALL = 10

# How often convolutional networks have what: values, and how many of them.
WINDOWS = {1: 2, 2: 1, 3: 7, 4: 1, 5: 3, 7: 2, 11: 1}
CHANNELS = {1: 2, 3: 3, 16: 2, 32: 3, 64: 4, 128: 3, 256: 2}
FEATURES = {16: 2, 32: 3, 64: 4, 96: 1, 128: 3, 192: 1, 256: 2}
FEW = {1: 1, 6: 1, 8: 1, 12: 1, 16: 1}


def drawn(count: int, seed: int) -> list[Problem]:
    """Return ``count`` problems as convolutional networks have them, always the same of a seed."""
    generator = random.Random(seed)
    return [_draw(generator, small=i % SMALL == SMALL - 1) for i in range(count)]


def _draw(generator: random.Random, *, small: bool) -> Problem:
    """Draw until the problem is small, or takes milliseconds."""
    while True:
        problem = _small(generator) if small else _any(generator)
        if min(problem.geometry.output) < 1 or problem.features % problem.geometry.groups:
            continue
        work, size = problem.multiplications, problem.bytes * (problem.inputs + problem.outputs)
        if work < SCANNED if small else WORK[0] < work < WORK[1] and size < BYTES:
            return problem


def _any(generator: random.Random) -> Problem:
    """Three in twenty along time, one in ten in groups."""
    rank = 1 if generator.random() < 0.15 else 2
    if rank == 1:
        size, window = generator.choice((500, 1000, 4000)), generator.choice((3, 5, 9, 80))
        strides = generator.choice((1, 1, 4)) if window > 5 else 1
    else:
        size = generator.choice((7, 8, 14, 16, 28, 32, 56, 112, 224))
        window = _weighted(generator, WINDOWS)
        strides = generator.choice((1, 1, 1, 2, 4 if window >= 7 else 2))
    channels, features = _weighted(generator, CHANNELS), _weighted(generator, FEATURES)
    groups = 1
    if channels >= 16 and generator.random() < 0.1:
        groups = generator.choice((2, channels, channels))
        features = channels if groups > 2 else features
    ends = (generator.choice((8, 16, 32, 64, 128)), channels, features)
    return _placed(generator, rank, (size, window, strides), ends, groups)


def _small(generator: random.Random) -> Problem:
    size, window = generator.choice((8, 12, 16)), generator.choice((3, 5))
    ends = (1, _weighted(generator, FEW), _weighted(generator, FEW))
    return _placed(generator, 2, (size, window, generator.choice((1, 2))), ends, 1)


def _placed(
    generator: random.Random,
    rank: int,
    along: tuple[int, int, int],
    ends: tuple[int, int, int],
    groups: int,
) -> Problem:
    _, window, _ = along
    margin = (window - 1) // 2 if generator.random() < 0.7 else 0
    size, windows, strides = ((n,) * rank for n in along)
    g = Geometry(size, windows, strides, ((margin, margin),) * rank, (1,) * rank, groups)
    return Problem(generator.choice(CORRELATIONS), g, *ends)


def drawn_pools(count: int, seed: int) -> list[Problem]:
    """Return ``count`` problems of pools, always the same of a seed."""
    generator, found = random.Random(seed), []
    while len(found) < count:
        window = generator.choice((2, 2, 2, 3, 3, 4, 5))
        strides = generator.choice((window, window, 2, 1))
        size, channels = generator.choice((7, 14, 28, 32, 56, 112)), generator.choice((16, 64, 256))
        g = Geometry((size,) * 2, (window,) * 2, (strides,) * 2, ((0, 0),) * 2, (1, 1))
        batch = generator.choice((8, 32, 128))
        problem = Problem(generator.choice(POOLS), g, batch, channels, channels)
        if WORK[0] < problem.inputs * problem.bytes < BYTES:
            found.append(problem)
    return found


def _weighted(generator: random.Random, often: dict[int, int]) -> int:
    return generator.choices(list(often), list(often.values()))[0]


# Below this a call takes longer than its arithmetic: such problems run in a scan.
SCANNED, STEPS = 750_000, 100


def arrays(problem: Problem) -> list[jax.Array]:
    """Return random arguments of a problem's operation."""
    g, n = problem.geometry, problem.batch
    x = (n, *g.size, problem.channels)
    y = (n, *g.output, problem.features)
    w = (*g.window, problem.channels // g.groups, problem.features)
    shapes = {
        "correlate": (x, w),
        "input_gradient": (y, w),
        "kernel_gradient": (x, y),
        "max_pool": (x,),
        "gather": (x,),
        "scatter": (y,),
        "window_sum": (x,),
        "window_spread": (y,),
    }
    drawn = np.random.default_rng(0).standard_normal(100_003)
    # Repeated, since random numbers take longer than what is measured with them.
    given = [
        jnp.asarray(np.resize(drawn, shape), problem.dtype) for shape in shapes[problem.operation]
    ]
    if problem.operation in ("gather", "scatter"):
        given.append(jnp.asarray(np.resize(np.arange(g.taps), y), winner_dtype(g)))
    return given


def subject(problem: Problem, name: str, given: list[jax.Array]) -> Subject:
    """Return one lowering of a problem, compiled, as what is timed."""
    function: Any = partial(getattr(lowering, problem.operation), problem.geometry)
    small = problem.multiplications < SCANNED
    if small:
        function = in_scan(function, STEPS)
    with lowering.forced(**{problem.operation: name}):
        jitted = jax.jit(lambda *given: function(*given), compiler_options=compiler_options())
        program = jitted.lower(*given).compile()
    return call_subject(name, lambda: program(*given), STEPS if small else 1)
