"""Single operations: explicit rule against ``jax.grad``, alone and in a scan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jcnn.benchmark.programs import compile_program, no_compilation_cache
from jcnn.benchmark.rows import MILLISECONDS, OURS, Benchmark, Row, geometric_mean, timed_row
from jcnn.benchmark.shapes import (
    BOTH,
    CASES,
    FORWARD,
    GRAD_OF_VMAP,
    INPUT,
    KERNEL,
    VMAP_OF_GRAD,
    Case,
)
from jcnn.benchmark.steps import NAMESPACES, Report, fastest_layout
from jcnn.benchmark.timing import Effort, Subject, call_subject, measure
from jcnn.benchmark.torch.peer import PeerError, TorchPeer, measure_beside, open_peer
from jcnn.proof.recording import Call

Arrays = Sequence[Array]
_SCAN_STEPS = 4
_BATCH = "the batch"


def bench_operations(
    cases: Sequence[Case] = CASES,
    effort: Effort | None = None,
    *,
    torch: bool = True,
    report: Report = lambda line: None,
) -> Benchmark:
    """Measure single operations.

    Args:
        cases: Rows of :data:`jcnn.benchmark.shapes.CASES`.
        effort: How long to measure each.
        torch: Whether to measure PyTorch too, where it is installed.
        report: Told what is being measured.

    Returns:
        A row for each case, pass and place (alone, in a scan), and geometric means over groups.
    """
    effort = effort or Effort(seconds=1.0)
    groups: dict[str, list[Row]] = {}
    with no_compilation_cache(), open_peer(torch) as (peer, reason):
        for case in cases:
            for passes in case.passes:
                name = f"{case.group} {passes}"
                report(f"{name} {case.title}")
                groups.setdefault(name, []).append(_alone(name, case, passes, effort, peer))
                if case.scanned:
                    row = _scanned(name, case, passes, effort)
                    groups.setdefault(f"{name} in a scan", []).append(row)
        version = peer.version if peer else None
    means = [geometric_mean(name, rows) for name, rows in groups.items() if len(rows) > 1]
    rows = [row for rows in groups.values() for row in rows]
    return Benchmark("operations", (*rows, *means), (reason,) if reason else (), version)


def _alone(name: str, case: Case, passes: str, effort: Effort, peer: TorchPeer | None) -> Row:
    mapped = passes in (GRAD_OF_VMAP, VMAP_OF_GRAD)
    subjects, notes = [], []
    wanted = [(column, namespace, passes) for column, namespace in NAMESPACES.items()]
    if mapped:
        wanted.append((_BATCH, NAMESPACES[OURS], _BATCH))
    for column, namespace, kind in wanted:
        function, arrays = passed(case.call, kind, namespace)
        program = compile_program(function, arrays)
        notes.append(f"{column} {program.compile_seconds:.1f} s")
        subjects.append(call_subject(column, lambda p=program.call, a=arrays: p(*a)))
    peers, refused = _peer_subjects(None if mapped else peer, case.call, passes)
    timings, failed = measure_beside(subjects, peers, effort)
    layout = fastest_layout(timings)
    notes = [f"compiled in: {', '.join(notes)}"]
    if mapped:
        notes.append(f"jcnn on the batch: {timings.pop(_BATCH).median * MILLISECONDS:.2f} ms")
    elif peer:
        notes.append(f"PyTorch: {refused}" if refused else peer.note(layout or failed))
    return timed_row(f"{name} {case.title}", timings, "; ".join(notes))


def _peer_subjects(peer: TorchPeer | None, call: Call, passes: str) -> tuple[list[Subject], str]:
    """PyTorch's subjects, or what it refused."""
    if peer is None:
        return [], ""
    operation = {
        "op": call.op,
        "arrays": call.arrays,
        "statics": dict(call.statics),
        "passes": passes,
    }
    try:
        return peer.operation_subjects(operation), ""
    except PeerError as error:
        return [], str(error)


def _scanned(name: str, case: Case, passes: str, effort: Effort) -> Row:
    subjects, lengths = [], []
    for column, namespace in NAMESPACES.items():
        function, arrays = passed(case.call, passes, namespace)
        subject, length = _longest_scan(column, function, arrays, effort)
        subjects.append(subject)
        lengths.append(f"{column}: {length}")
    note = f"steps per scan: {', '.join(lengths)}"
    return timed_row(f"{name} in a scan {case.title}", measure(subjects, effort), note)


def _longest_scan(
    column: str, function: Callable[..., Any], arrays: Arrays, effort: Effort
) -> tuple[Subject, int]:
    """A scan of two steps tells how long one of four would take."""
    for length in (2, _SCAN_STEPS):
        program = compile_program(in_scan(function, length), arrays).call
        subject = call_subject(column, lambda p=program: p(*arrays), length)
        first = subject.run(1)
        if first / length * _SCAN_STEPS > effort.seconds:
            break
    return Subject(column, subject.run, length, first), length


def in_scan(function: Callable[..., Any], length: int) -> Callable[..., Any]:
    """Return the function, repeated in a scan out of which nothing can be moved."""

    def scanned(*arrays: Array) -> Any:
        def body(carried: Any, _: None) -> Any:
            arrays, _ = lax.optimization_barrier(carried)
            return (arrays, function(*arrays)), None

        start = jax.tree.map(
            lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(function, *arrays)
        )
        return lax.scan(body, (arrays, start), None, length=length)[0][1]

    return scanned


def passed(call: Call, passes: str, namespace: ModuleType) -> tuple[Callable[..., Any], Arrays]:
    """Return a pass of an operation as a function of arrays, and random arrays for it."""
    generator = np.random.default_rng(0)
    drawn = call.draw(generator)
    operation = _function(call, namespace)
    if passes == FORWARD:
        return operation, drawn
    inner = [k for k, a in enumerate(drawn) if jnp.issubdtype(a.dtype, jnp.floating)]
    inner = {INPUT: inner[:1], KERNEL: inner[1:2]}.get(passes, inner)
    dy = jax.tree.map(
        lambda y: jnp.asarray(generator.standard_normal(y.shape), y.dtype),
        jax.eval_shape(operation, *drawn),
    )

    if passes in (GRAD_OF_VMAP, VMAP_OF_GRAD):
        return _of_examples(operation, passes), [dy, *drawn]

    def backward(dy: Any, *arrays: Array) -> Any:
        def of(*some: Array) -> Any:
            replaced = dict(zip(inner, some, strict=True))
            return operation(*(replaced.get(k, a) for k, a in enumerate(arrays)))

        y, pull = jax.vjp(of, *(arrays[k] for k in inner))
        return (y, pull(dy)) if passes == BOTH else pull(dy)

    return backward, [dy, *drawn]


def _of_examples(operation: Callable[..., Any], passes: str) -> Callable[..., Any]:
    """The gradients by way of one example at a time, as a function of dy, x and w."""

    def one(x: Array, w: Array) -> Any:
        return operation(x[None], w)[0]

    def pulled(dy: Array, x: Array, w: Array) -> Any:
        return jax.vjp(one, x, w)[1](dy)

    def gradient_of_vmap(dy: Array, x: Array, w: Array) -> Any:
        return jax.vjp(jax.vmap(one, (0, None)), x, w)[1](dy)

    return gradient_of_vmap if passes == GRAD_OF_VMAP else jax.vmap(pulled, (0, 0, None))


def _function(call: Call, namespace: ModuleType) -> Callable[..., Any]:
    """The operation alone; of ``batch_norm``'s results the first."""
    if call.op == "convolve_transpose" and namespace is NAMESPACES["jax.grad"]:
        return _lax_conv_transpose(call)
    function = call.function(namespace)
    if call.op == "batch_norm":
        return lambda *arrays: function(*arrays)[0]
    return function


def _lax_conv_transpose(call: Call) -> Callable[..., Any]:
    """What a user of JAX would call."""
    options = dict(call.statics)
    rank = len(call.arrays[0][1]) - 2
    spatial = "HW"[-rank:] if rank < 3 else "DHW"
    numbers = (f"N{spatial}C", f"{spatial}IO", f"N{spatial}C")
    window = call.arrays[1][1][:-2]
    cut = options.get("padding", 0)
    edges = [(k - 1 - cut, k - 1 - cut) for k in window]

    def transpose(x: Array, w: Array) -> Array:
        strides = (options["strides"],) * rank
        return lax.conv_transpose(x, w, strides, edges, dimension_numbers=numbers)

    return transpose
