"""The lowering that each correlation of a model takes on this platform, and why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jcnn import lowering, ops
from jcnn.benchmark.learning import places
from jcnn.benchmark.rows import MILLISECONDS
from jcnn.benchmark.shapes import CONVOLUTIONS, POOLS, TRANSPOSED
from jcnn.config import Experiment
from jcnn.console import wide
from jcnn.geometry import place, place_pool
from jcnn.layers import Context, Layer, Shape
from jcnn.lowering import Choice, Geometry, Policy, Problem, candidates, decide
from jcnn.lowering.algorithms import GROUPED, is_native
from jcnn.proof.recording import Call, Recorder

# The triple's member that each pass is: the transposed convolution is the triple's input gradient.
_PASSES = {
    "convolve": {
        "forward": "correlate",
        "input gradient": "input_gradient",
        "kernel gradient": "kernel_gradient",
    },
    "convolve_transpose": {
        "forward": "input_gradient",
        "input gradient": "correlate",
        "kernel gradient": "kernel_gradient",
    },
}
_PASSES["correlate"] = _PASSES["convolve"]
_MAXIMA = {"forward": "max_pool", "input gradient": "scatter"}
_SUMS = {"forward": "window_sum", "input gradient": "window_spread"}
_POOLS = {
    "max_pool": _MAXIMA,
    "relu_max_pool": _MAXIMA,
    "average_pool": _SUMS,
    "square_pool": _SUMS,
}


def winograd_allowed(on: bool | None) -> AbstractContextManager[None]:
    """Return the context in which Winograd's algorithm may be chosen or not; None: as before."""
    return nullcontext() if on is None else lowering.allow_winograd(on)


def plan(experiment: Experiment, platform: str | None = None) -> list[dict[str, Any]]:
    """Return a row for each layer and pass whose lowering is chosen.

    Args:
        experiment: What :func:`jcnn.load_experiment` gave.
        platform: "cpu", "gpu" or "tpu"; the one that JAX runs on where not given.

    Returns:
        Rows of ``layer``, ``operation`` (the call, with its shapes), ``pass``, ``lowering``,
        ``why`` and ``candidates``: of each lowering that may serve on a CPU, the one chosen first,
        its ``lowering`` and the milliseconds ``predicted`` and ``measured`` (None before ``jcnn
        tune CONFIG``). What a step does not compute has no row: an input gradient from
        which nothing learns, as the first layer's, and a frozen layer's kernel gradient.
    """
    platform = platform or jax.default_backend()
    rows = []
    for name, call, passes, problem in _passes(experiment):
        chosen = _choice(problem, platform)
        rows.append(_row(name, call, passes, chosen.name, chosen.why))
        if platform == "cpu":
            rows[-1]["candidates"] = _candidates(problem)
    return rows


def problems_of(experiment: Experiment) -> list[Problem]:
    """Return what lowerings are chosen for in a training step, each once."""
    found = [problem for *_, problem in _passes(experiment)]
    return list(dict.fromkeys([*found, *_single_groups(found)]))


def problems_of_cases() -> list[Problem]:
    """Return what lowerings are chosen for in ``jcnn bench --ops``, each once."""
    found = []
    for call in (case.call for case in (*CONVOLUTIONS, *POOLS, *TRANSPOSED)):
        given = [jax.ShapeDtypeStruct(shape, dtype) for _, shape, dtype in call.arrays]
        run = partial(getattr(ops, call.op), **dict(call.statics))
        output = jax.eval_shape(run, *given).shape[1:]
        found += [_problem(call, op, output) for op in _PASSES.get(call.op, {}).values()]
        found += [_pool(call, op) for op in _POOLS.get(call.op, {}).values()]
    return list(dict.fromkeys([*found, *_single_groups(found)]))


def _single_groups(problems: list[Problem]) -> list[Problem]:
    return [problem.one_group() for problem in problems if problem.geometry.groups > 1]


def _passes(experiment: Experiment) -> Iterator[tuple[str, Call, str, Problem]]:
    """Yield layer, call and pass of all that a step computes, and its problem."""
    size, dtype = experiment.training.batch_size, jnp.dtype(experiment.training.precision)
    for at in places(experiment):
        x = jax.ShapeDtypeStruct((size, *at.input_shape), dtype)
        for call in recorded(at.layer, x):
            for passes, operation in _PASSES.get(call.op, {}).items():
                if at.computes(passes):
                    yield at.path, call, passes, _problem(call, operation, at.output_shape)
            for passes, operation in _POOLS.get(call.op, {}).items():
                if at.computes(passes):
                    yield at.path, call, passes, _pool(call, operation)


def _row(layer: str, call: Call, passes: str, chosen: str, why: str) -> dict[str, Any]:
    return {
        "layer": layer,
        "operation": str(call),
        "pass": passes,
        "lowering": chosen,
        "why": why,
        "candidates": [],
    }


def recorded(layer: Layer, x: jax.ShapeDtypeStruct) -> list[Call]:
    """Return the operations that a layer calls in training, on a batch like ``x``."""
    recorder = Recorder()

    def apply(x: jax.Array) -> jax.Array:
        key = jax.random.key(0)
        params, state = layer.init(key, x.shape[1:])
        return layer.apply(params, state, x, Context(recorder, training=True, key=key))[0]

    jax.eval_shape(apply, x)
    return list(recorder.calls)


def _problem(call: Call, operation: str, output: Shape) -> Problem:
    (_, x, dtype), (_, w, _), *_ = call.arrays
    given = dict(call.statics)
    transposed = call.op == "convolve_transpose"
    size = output[:-1] if transposed else x[1:-1]
    g: Geometry = place(
        size,
        w[:-2],
        given.get("strides", 1),
        given.get("padding", "VALID"),
        given.get("dilation", 1),
        given.get("groups", 1),
    ).bordered()
    ends = (w[-1], x[-1]) if transposed else (x[-1], w[-1])
    # What is of half precision is computed in float32.
    wide = jnp.promote_types(dtype, jnp.float32).name
    return Problem(operation, g, x[0], *ends, wide)


def _pool(call: Call, operation: str) -> Problem:
    (_, x, dtype), *_ = call.arrays
    given = dict(call.statics)
    window, strides = given["window"], given.get("strides")
    more = given.get("ceil_mode", False)
    padding = given.get("padding", "VALID")
    g = place_pool(x[1:-1], window, strides, padding, ceil_mode=more).bordered()
    wide = jnp.promote_types(dtype, jnp.float32).name
    return Problem(operation, g, x[0], x[-1], x[-1], wide)


def _choice(problem: Problem, platform: str) -> Choice:
    policy = Policy.current()
    chosen = decide(problem, policy, platform)
    if chosen.name not in GROUPED:
        return chosen
    asked = replace(policy, native=is_native(chosen.name))
    inner = decide(problem.one_group(), asked, platform)
    return Choice(f"{inner.name}, a group at a time", inner.why)


def _candidates(problem: Problem) -> list[dict[str, Any]]:
    return [
        {
            "lowering": one.name,
            "predicted": one.predicted * MILLISECONDS,
            "measured": None if one.measured is None else one.measured * MILLISECONDS,
        }
        for one in candidates(problem, Policy.current())
    ]


def print_plan(rows: list[dict[str, Any]]) -> None:
    """Print the rows as a table, under the machine whose costs chose."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for column in ("layer", "operation", "pass", "lowering", "predicted, measured", "why"):
        table.add_column(column, overflow="fold")
    before = None
    for row in rows:
        named = ("", "")
        if row["layer"] != before:
            table.add_section()
            named = (row["layer"], row["operation"].partition("(")[0])
        before = row["layer"]
        times = "\n".join(map(_times, row["candidates"]))
        table.add_row(*named, row["pass"], row["lowering"], times, row["why"].partition(":")[0])
    console = wide(140, highlight=False)
    console.print(table)
    console.print(f"Costs: {Policy.current().on.name}; milliseconds.", style="dim")


def _times(one: dict[str, Any]) -> str:
    measured = "" if one["measured"] is None else f", {one['measured']:.3g}"
    return f"{one['lowering']} {one['predicted']:.3g}{measured}"
