"""Loss and accuracy over a whole split: each example counts once, the last batch too."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from time import perf_counter
from types import ModuleType
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jcnn import ops as explicit_ops
from jcnn.config import Experiment
from jcnn.data import Dataset, Split, StreamingDataset
from jcnn.runs.statistics import share_interval
from jcnn.training.layout import SINGLE, Layout
from jcnn.training.measures import make_loop, make_measure, make_shared_loop, make_shared_measure
from jcnn.training.metrics import classification_metrics
from jcnn.training.predicting import make_scores
from jcnn.training.sharing import Shared
from jcnn.training.state import Totals, TrainState

SMALLEST_BATCH = 128

Means = dict[str, Any]
Clock = Callable[[], float]


class Evaluation(Protocol):
    """Measures a state on one split."""

    def compile(self, state: TrainState) -> None:
        """Compile for a state like this one (arrays or their shapes)."""
        ...

    def __call__(
        self, state: TrainState, seconds: float = math.inf, clock: Clock = perf_counter
    ) -> Means:
        """Return the mean loss and accuracy.

        Args:
            state: What is measured.
            seconds: Time after which no further batch is measured, see :func:`measured`.
            clock: That time, the same in all processes.
        """
        ...

    def outputs(
        self, state: TrainState, examples: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the score of each class (N, K), and the right classes (N,).

        Args:
            state: See above.
            examples: So many at least, those that an evaluation of so many is of; or all.
        """
        ...


class DeviceEvaluation:
    """A split that lives on the device, measured in one dispatch."""

    def __init__(
        self,
        experiment: Experiment,
        split: Split,
        ops: ModuleType = explicit_ops,
        shared: Shared | None = None,
        layout: Layout = SINGLE,
    ) -> None:
        """Put the split on the device."""
        if experiment.training.evaluate_max_seconds:  # a part of it has to be like the whole
            split = split.take(np.random.default_rng(0).permutation(len(split)))
        self._layout, self._split = layout, split
        x, y = layout.place((split.x, split.y))
        self._x, self._y = (a if isinstance(a, Array) else jnp.asarray(a) for a in (x, y))
        self._batch_size = min(_batch_size(experiment), len(split))
        size, make = self._batch_size, make_loop if layout.mesh is None else make_shared_loop
        self._jitted = (shared or Shared()).program(
            f"evaluation {size}",
            experiment,
            lambda: make(make_measure(experiment, ops, layout), size, layout),
            ops,
        )
        self._program = self._jitted.call
        self._scores = jax.jit(make_scores(experiment, ops))

    def compile(self, state: TrainState) -> None:
        """Compile the loop over the batches."""
        state, totals = self._layout.shaped((state, jax.eval_shape(Totals.zero)))
        bounds = np.int32(0), np.int32(0)
        self._program = self._jitted.compile(state, self._x, self._y, totals, *bounds)

    def __call__(
        self, state: TrainState, seconds: float = math.inf, clock: Clock = perf_counter
    ) -> Means:
        """Return the mean loss and accuracy."""
        batches, totals = -(-len(self._y) // self._batch_size), self._layout.place(Totals.zero())
        first, started = 0, clock()
        while first < batches:
            spent = clock() - started
            if first and spent >= seconds:
                break
            last = min(batches, first + _portion(first, spent, seconds))
            bounds = np.int32(first), np.int32(last)
            totals, first = self._program(state, self._x, self._y, totals, *bounds), last
            if seconds < math.inf:
                jax.block_until_ready(totals)
        return measured(totals, len(self._y))

    def outputs(
        self, state: TrainState, examples: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the score of each class, and the right classes."""
        size, rows = self._batch_size, []
        count = len(self._split) if examples is None else examples
        for start in range(0, count, size):
            batch = _padded(self._split.x[start : start + size], size)
            rows.append(np.asarray(self._scores(state, batch)))
        return np.concatenate(rows)[:count], self._split.y[:count]


class StreamEvaluation:
    """A split of a stream, measured batch by batch."""

    def __init__(
        self,
        experiment: Experiment,
        stream: StreamingDataset,
        ops: ModuleType = explicit_ops,
        split: str = "test",
        shared: Shared | None = None,
        layout: Layout = SINGLE,
    ) -> None:
        """Read nothing yet."""
        self._stream, self._split, self._layout = stream, split, layout
        self._batch_size = -(-_batch_size(experiment) // layout.parts) * layout.parts
        self._mixed = {"mixed": True} if experiment.training.evaluate_max_seconds else {}
        self._shape = (self._batch_size, *experiment.input_shape)
        self._scores = jax.jit(make_scores(experiment, ops))
        self._jitted = (shared or Shared()).program(
            "measure",
            experiment,
            lambda: make_shared_measure(make_measure(experiment, ops, layout), layout),
            ops,
        )
        self._program = self._jitted.call

    def compile(self, state: TrainState) -> None:
        """Compile the measure of one batch."""
        x, y = self._layout.shaped_batch(self._shape)
        valid = y.update(dtype=jnp.bool_)
        self._program = self._jitted.compile(self._layout.shaped(state), x, y, valid)

    def __call__(
        self, state: TrainState, seconds: float = math.inf, clock: Clock = perf_counter
    ) -> Means:
        """Return the mean loss and accuracy."""
        totals, started = Totals.zero(), clock()
        for arrays in self._batches():
            totals = totals.plus(self._program(state, *arrays))
            if seconds < math.inf:
                jax.block_until_ready(totals)
                if clock() - started >= seconds:
                    break
        labels = self._stream.labels(self._split)
        return measured(totals, 0 if labels is None else len(labels))

    def _batches(self) -> Iterator[list[Array]]:
        """Yield inputs, labels and which of them count, of whole batches."""
        size = self._batch_size
        rows = self._layout.rows(size)
        for x, y in self._stream.batches(self._split, size, **self._mixed):
            arrays = _padded(x, size), _padded(y, size), np.arange(size) < len(y)
            yield [self._layout.place_batch(a[rows], rows, size) for a in arrays]

    def outputs(
        self, state: TrainState, examples: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the score of each class, and the right classes."""
        rows, labels = [], []
        for x, y in self._stream.batches(self._split, self._batch_size, **self._mixed):
            if examples is not None and sum(map(len, labels)) >= examples:
                break
            scores = self._scores(state, _padded(x, self._batch_size))
            rows.append(np.asarray(scores)[: len(y)])
            labels.append(y)
        return np.concatenate(rows), np.concatenate(labels)


def evaluations(
    experiment: Experiment,
    opened: Dataset | StreamingDataset,
    ops: ModuleType = explicit_ops,
    shared: Shared | None = None,
    layout: Layout = SINGLE,
) -> dict[str, Evaluation]:
    """Return what measures each split that training watches: "validation" if any, and "test"."""
    if isinstance(opened, Dataset):
        splits = {"validation": opened.validation, "test": opened.test}
        present = {name: split for name, split in splits.items() if split is not None}
        how = ops, shared, layout
        return {n: DeviceEvaluation(experiment, split, *how) for n, split in present.items()}
    names = [name for name in ("validation", "test") if opened.labels(name) is not None]
    return {n: StreamEvaluation(experiment, opened, ops, n, shared, layout) for n in names}


def all_metrics(
    evaluation: Evaluation, experiment: Experiment, state: TrainState, seconds: float, clock: Clock
) -> Means:
    """Return loss and accuracy, and the further metrics that an experiment asks for."""
    means, names = evaluation(state, seconds, clock), experiment.training.metrics
    if not names:
        return means
    outputs = evaluation.outputs(state, means.get("examples"))
    return means | classification_metrics(*outputs, experiment.data.class_names, names)


def measured(totals: Totals, count: int) -> Means:
    """Return the means of a split of ``count`` examples.

    Where not all of them were measured they say so: ``examples`` is how many were, ``of`` how many
    there are, ``interval`` Wilson's 95 % interval of the accuracy.
    """
    means: Means = dict(totals.means())
    examples = int(totals.examples)
    if examples < count:
        interval = [round(end, 6) for end in share_interval(int(totals.correct), examples)]
        means |= {"examples": examples, "of": count, "interval": interval}
    return means


def _portion(done: int, spent: float, seconds: float) -> int:
    """Return how many batches to measure before the clock is looked at again: one, then more."""
    if seconds == math.inf:
        return np.iinfo(np.int32).max
    return max(1, int(done * (seconds - spent) / (4 * max(spent, 1e-6))))


def _padded(rows: np.ndarray, count: int) -> np.ndarray:
    return np.pad(rows, [(0, count - len(rows))] + [(0, 0)] * (rows.ndim - 1))


def _batch_size(experiment: Experiment) -> int:
    return max(experiment.training.batch_size, SMALLEST_BATCH)
