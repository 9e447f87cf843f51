"""The lowering that each correlation of a model takes on this platform, and why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from jcnn import lowering
from jcnn.config import Experiment
from jcnn.geometry import place
from jcnn.layers import Context, Layer, Residual, Sequence, Shape
from jcnn.lowering import Geometry
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
_POOLS = ("max_pool", "relu_max_pool", "global_max_pool")
_KEPT = "shifted views are compared; which one won is kept, not the input"


def winograd_allowed(on: bool | None) -> AbstractContextManager[None]:
    """Return the context in which Winograd's algorithm may be chosen or not; None: as before."""
    return nullcontext() if on is None else lowering.allow_winograd(on)


def plan(experiment: Experiment, platform: str | None = None) -> list[dict[str, Any]]:
    """Return a row for each layer and pass whose lowering is chosen.

    Args:
        experiment: What :func:`jcnn.load_experiment` gave.
        platform: "cpu", "gpu" or "tpu"; the one that JAX runs on where not given.

    Returns:
        Rows of ``layer``, ``operation`` (the call, with its shapes), ``pass``, ``lowering`` and
        ``why``. The first layer's input gradient is never computed, and has no row.
    """
    platform = platform or jax.default_backend()
    rows, seen = [], False
    batch = (experiment.training.batch_size, *experiment.input_shape)
    dtype = jnp.dtype(experiment.training.precision)
    for name, call, output in _calls(experiment.model, jax.ShapeDtypeStruct(batch, dtype)):
        for passes, operation in _PASSES.get(call.op, {}).items():
            if passes == "input gradient" and not seen:
                continue
            chosen = _choice(call, operation, output, platform)
            rows.append(_row(name, call, passes, chosen.name, chosen.why))
        if call.op in _POOLS:
            rows.append(_row(name, call, "forward, backward", "winners", _KEPT))
        seen = True
    return rows


def _row(layer: str, call: Call, passes: str, chosen: str, why: str) -> dict[str, Any]:
    return {"layer": layer, "operation": str(call), "pass": passes, "lowering": chosen, "why": why}


def _calls(
    sequence: Sequence, x: jax.ShapeDtypeStruct, path: str = ""
) -> Iterator[tuple[str, Call, Shape]]:
    """Yield each layer's path, an operation that it calls in training, and its output's shape."""
    for name, layer, _, output in sequence.walk(x.shape[1:]):
        if isinstance(layer, Residual):
            for branch, inner in layer.branches().items():
                yield from _calls(inner, x, f"{path}{name}.{branch}.")
        else:
            for call in recorded(layer, x):
                yield f"{path}{name}", call, output
        x = jax.ShapeDtypeStruct((x.shape[0], *output), x.dtype)


def recorded(layer: Layer, x: jax.ShapeDtypeStruct) -> list[Call]:
    """Return the operations that a layer calls in training, on a batch like ``x``."""
    recorder = Recorder()

    def apply(x: jax.Array) -> jax.Array:
        key = jax.random.key(0)
        params, state = layer.init(key, x.shape[1:])
        return layer.apply(params, state, x, Context(recorder, training=True, key=key))[0]

    jax.eval_shape(apply, x)
    return list(recorder.calls)


def _choice(call: Call, operation: str, output: Shape, platform: str) -> lowering.Choice:
    (_, x, _), (_, w, _), *_ = call.arrays
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
    chosen = lowering.choose(operation, g, *ends, batch=x[0], platform=platform)
    if chosen.name != "grouped":
        return chosen
    one = replace(g, groups=1)
    ends = tuple(n // g.groups for n in ends)
    inner = lowering.choose(operation, one, *ends, batch=x[0], platform=platform)
    return lowering.Choice(f"{inner.name}, a group at a time", inner.why)


def print_plan(rows: list[dict[str, Any]]) -> None:
    """Print the rows as a table."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for column in ("layer", "operation", "pass", "lowering", "why"):
        table.add_column(column, overflow="fold")
    before = None
    for row in rows:
        named = ("", "")
        if row["layer"] != before:
            table.add_section()
            named = (row["layer"], row["operation"].partition("(")[0])
        before = row["layer"]
        table.add_row(*named, row["pass"], row["lowering"], row["why"])
    console = Console(highlight=False)
    console.width = max(console.width, 140)  # a narrow terminal may break lines, not cut words
    console.print(table)
