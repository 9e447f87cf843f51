"""A training step of an experiment: time alone and in a scan, memory, compile time."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jcnn import ops, reference
from jcnn.benchmark.learning import places
from jcnn.benchmark.programs import Program, compile_program, no_compilation_cache
from jcnn.benchmark.rows import (
    OURS,
    PEER,
    THEIRS,
    Benchmark,
    Row,
    ratios,
    timed_row,
)
from jcnn.benchmark.timing import Effort, Subject, Timing, call_subject, measure
from jcnn.benchmark.torch.peer import TorchPeer, measure_beside, open_peer
from jcnn.config import Experiment
from jcnn.inspection.batches import random_batch
from jcnn.training import Step

NAMESPACES = {OURS: ops, THEIRS: reference}
_BATCHES = 2  # a scan's steps take turns with them, so that nothing of a batch can leave the loop
_MATRIX = {"cpu": 2048}  # side of the matrices that show the machine's peak; elsewhere 8192
Report = Callable[[str], None]


def bench_step(
    experiment: Experiment,
    effort: Effort | None = None,
    *,
    scan_steps: int = 20,
    torch: bool = True,
    report: Report = lambda line: None,
) -> Benchmark:
    """Measure an experiment's training step on random inputs; no data are needed.

    Args:
        experiment: Its augmentation and average of the parameters are left out, so that every
            subject computes the same.
        effort: How long to measure.
        scan_steps: Steps of a scan. A subject that would take longer than ``effort.seconds`` for
            them gets a scan of two. With 0 no scan is measured.
        torch: Whether to measure PyTorch too, where it is installed.
        report: Told what is being measured.

    Returns:
        Rows, ratios and spread; ``jax.grad`` is the same step on :mod:`jcnn.reference`.
    """
    experiment, effort = _comparable(experiment), effort or Effort()
    with no_compilation_cache(), open_peer(torch, experiment) as (peer, reason):
        bench = _StepBench(experiment, effort, peer, report)
        rows = bench.alone()
        if scan_steps:
            rows += bench.scanned(scan_steps)
        version = peer.version if peer else None
    notes = ["Random inputs; without augmentation and average of the parameters."]
    if peer and peer.left_out:
        notes.append(f"PyTorch's step is without {', '.join(peer.left_out)}.")
    return Benchmark(experiment.name, tuple(rows), (*notes, *([reason] if reason else [])), version)


def _comparable(experiment: Experiment) -> Experiment:
    plain = {"augment": (), "average_decay": None}
    training = experiment.training.model_copy(update=plain)
    return experiment.model_copy(update={"training": training})


class _StepBench:
    def __init__(
        self, experiment: Experiment, effort: Effort, peer: TorchPeer | None, report: Report
    ) -> None:
        self.experiment, self.effort = experiment, effort
        self.peer, self.report = peer, report
        size = experiment.training.batch_size
        self.xs, self.ys = (
            a.reshape(_BATCHES, size, *a.shape[1:])
            for a in random_batch(experiment, _BATCHES * size)
        )
        # On the host, since a step consumes the state that it is given.
        self.state = jax.tree.map(np.asarray, Step(experiment).init())
        self.key = jax.random.key(0)

    def alone(self) -> list[Row]:
        """The step by itself, and what follows from its time."""
        programs = {name: self._compile_step(ops) for name, ops in NAMESPACES.items()}
        subjects = [self._subject(name, program) for name, program in programs.items()]
        compile_row = self._compile_times()
        subjects.append(_matrix_product())
        peers = self.peer.step_subjects() if self.peer else []
        self.report("the training step")
        timings, failed = measure_beside(subjects, peers, self.effort)
        peak = _matrix_flops() / min(timings.pop("matrix product").samples)
        layout = fastest_layout(timings)
        note = self.peer.note(layout or failed) if self.peer else ""
        return [
            timed_row("training step", timings, note),
            self._images(timings),
            self._share(timings, peak),
            memory_row("temporary memory of the step", programs),
            compile_row,
        ]

    def scanned(self, steps: int) -> list[Row]:
        """The same step, many in one program."""
        programs: dict[str, Program] = {}
        subjects, lengths = [], {}
        for name, namespace in NAMESPACES.items():
            self.report(f"a scan of steps: {name}")
            length, programs[name], subject = self._longest_scan(name, namespace, steps)
            subjects.append(subject)
            lengths[name] = length
        note = "; ".join(f"{name}: {length} steps per scan" for name, length in lengths.items())
        row = timed_row("training step in a scan", measure(subjects, self.effort), note)
        return [row, memory_row("temporary memory of the scan", programs, note)]

    def _longest_scan(
        self, name: str, namespace: ModuleType, steps: int
    ) -> tuple[int, Program, Subject]:
        """A scan of two steps tells how long one of all steps would take."""
        for length in (min(2, steps), steps):
            program = self._compile_scan(namespace, length)
            subject = self._subject(name, program, length)
            first = subject.run(1)
            if length == steps or first / length * steps > self.effort.seconds:
                break
        return length, program, Subject(name, subject.run, length, first)

    def _compile_step(self, namespace: ModuleType) -> Program:
        step = Step(self.experiment, namespace)

        def single(state: Any, xs: Array, ys: Array, key: Array) -> Any:
            return step(state, xs[0], ys[0], key)

        return compile_program(single, self._arguments(), donate=(0,))

    def _compile_scan(self, namespace: ModuleType, steps: int) -> Program:
        step = Step(self.experiment, namespace)

        def scan(state: Any, xs: Array, ys: Array, key: Array) -> Any:
            def body(state: Any, index: Array) -> Any:
                batch = index % _BATCHES
                return step(state, xs[batch], ys[batch], jax.random.fold_in(key, index))

            return lax.scan(body, state, jnp.arange(steps))

        return compile_program(scan, self._arguments(), donate=(0,))

    def _arguments(self) -> tuple[Any, Array, Array, Array]:
        state, xs, ys = jax.tree.map(jnp.array, (self.state, self.xs, self.ys))
        return state, xs, ys, self.key

    def _subject(self, name: str, program: Program, units: int = 1) -> Subject:
        state, *rest = self._arguments()

        def call() -> Any:
            nonlocal state
            state, totals = program.call(state, *rest)
            return totals

        return call_subject(name, call, units)

    def _compile_times(self) -> Row:
        """Not those of the subjects: the first also paid for what JAX does once in a process."""
        seconds: dict[str, list[float]] = {name: [] for name in NAMESPACES}
        for _ in range(min(3, self.effort.repeats)):
            for name, namespace in NAMESPACES.items():
                self.report(f"compiling: {name}")
                seconds[name].append(self._compile_step(namespace).compile_seconds)
        timings = {name: Timing(tuple(samples)) for name, samples in seconds.items()}
        return timed_row("compile time of the step", timings)

    def _images(self, timings: dict[str, Timing]) -> Row:
        size = self.experiment.training.batch_size
        rates = {name: size / timing.median for name, timing in timings.items()}
        return Row("examples per second", "1/s", rates, {})

    def _share(self, timings: dict[str, Timing], peak: float) -> Row:
        flops = training_flops(self.experiment) * self.experiment.training.batch_size
        shares = {name: 100 * flops / t.median / peak for name, t in timings.items()}
        note = f"peak {peak / 1e9:,.0f} GFLOP/s; a step's arithmetic is {flops / 1e9:,.2f} GFLOP"
        return Row("share of the matrix-product peak", "%", shares, {}, note=note)


def fastest_layout(timings: dict[str, Timing]) -> str:
    """Keep PyTorch's faster memory layout alone, as "torch", and return its name."""
    layouts = [name for name in timings if name.startswith(f"{PEER} ")]
    if not layouts:
        return ""
    best = min(layouts, key=lambda name: timings[name].median)
    timings[PEER] = timings[best]
    for name in layouts:
        del timings[name]
    return best.removeprefix(f"{PEER} ")


def memory_row(what: str, programs: dict[str, Program], note: str = "") -> Row:
    """Return the row of the programs' temporary memory."""
    values = {
        name: program.temporary_bytes / 1e6
        for name, program in programs.items()
        if program.temporary_bytes is not None
    }
    return Row(what, "MB", values, ratios(values), note=note)


def training_flops(experiment: Experiment) -> int:
    """Arithmetic of a step per example: forward, and both gradients of every weighted sum.

    Neither a frozen layer's kernel gradient is computed nor an input gradient from which nothing
    learns, as the first layer's, and neither is counted.
    """
    return sum(
        at.layer.cost(at.input_shape).flops * (1 + at.kernel_gradient + at.input_gradient)
        for at in places(experiment)
    )


def _matrix_flops() -> int:
    return 2 * _side() ** 3


def _side() -> int:
    return _MATRIX.get(jax.default_backend(), 8192)


def _matrix_product() -> Subject:
    a = jnp.ones((_side(), _side()), jnp.float32)
    product = jax.jit(jnp.matmul).lower(a, a).compile()
    return call_subject("matrix product", lambda: product(a, a))
