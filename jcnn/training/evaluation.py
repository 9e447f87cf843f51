"""Loss and accuracy over a whole split: each example counts once, the last batch too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jcnn import ops as explicit_ops
from jcnn.config import Experiment
from jcnn.data import Dataset, Split, StreamingDataset
from jcnn.layers import WHOLE, Shards
from jcnn.training.layout import SINGLE, Layout, P
from jcnn.training.state import Totals, TrainState

SMALLEST_BATCH = 128

Means = dict[str, float]


class Evaluation(Protocol):
    """Measures a state on one split."""

    def compile(self, state: TrainState) -> None:
        """Compile for a state like this one (arrays or their shapes)."""
        ...

    def __call__(self, state: TrainState) -> Means:
        """Return the mean loss and accuracy."""
        ...

    def outputs(self, state: TrainState) -> tuple[np.ndarray, np.ndarray]:
        """Return the probability of each class (N, K), and the right classes (N,)."""
        ...


class DeviceEvaluation:
    """A split that lives on the device, measured in one dispatch."""

    def __init__(
        self,
        experiment: Experiment,
        split: Split,
        ops: ModuleType = explicit_ops,
        layout: Layout = SINGLE,
    ) -> None:
        """Put the split on the device."""
        self._layout, self._split = layout, split
        x, y = layout.place((split.x, split.y))
        self._x, self._y = (a if isinstance(a, Array) else jnp.asarray(a) for a in (x, y))
        self._batch_size = min(_batch_size(experiment), len(split))
        measure = _make_measure(experiment, ops, layout)
        if layout.mesh is None:
            loop = _make_loop(measure, self._batch_size)
        else:
            loop = _make_shared_loop(measure, -(-self._batch_size // layout.parts), layout)
        self._jitted = self._program = jax.jit(loop)
        self._probabilities = jax.jit(make_probabilities(experiment, ops))

    def compile(self, state: TrainState) -> None:
        """Compile the loop over the batches."""
        self._program = self._jitted.lower(self._layout.shaped(state), self._x, self._y).compile()

    def __call__(self, state: TrainState) -> Means:
        """Return the mean loss and accuracy."""
        return self._program(state, self._x, self._y).means()

    def outputs(self, state: TrainState) -> tuple[np.ndarray, np.ndarray]:
        """Return the probability of each class, and the right classes."""
        size, rows = self._batch_size, []
        for start in range(0, len(self._split), size):
            batch = _padded(self._split.x[start : start + size], size)
            rows.append(np.asarray(self._probabilities(state, batch)))
        return np.concatenate(rows)[: len(self._split)], self._split.y


class StreamEvaluation:
    """A split of a stream, measured batch by batch."""

    def __init__(
        self,
        experiment: Experiment,
        stream: StreamingDataset,
        ops: ModuleType = explicit_ops,
        split: str = "test",
        layout: Layout = SINGLE,
    ) -> None:
        """Read nothing yet."""
        self._stream, self._split, self._layout = stream, split, layout
        self._batch_size = -(-_batch_size(experiment) // layout.parts) * layout.parts
        self._shape = (self._batch_size, *experiment.input_shape)
        self._probabilities = jax.jit(make_probabilities(experiment, ops))
        measure = _make_shared_measure(_make_measure(experiment, ops, layout), layout)
        self._jitted = self._program = jax.jit(measure)

    def compile(self, state: TrainState) -> None:
        """Compile the measure of one batch."""
        x, y = self._layout.shaped_batch(self._shape)
        valid = y.update(dtype=jnp.bool_)
        self._program = self._jitted.lower(self._layout.shaped(state), x, y, valid).compile()

    def __call__(self, state: TrainState) -> Means:
        """Return the mean loss and accuracy."""
        totals = Totals.zero()
        for x, y, valid in self._batches():
            totals = totals.plus(self._program(state, x, y, valid))
        return totals.means()

    def _batches(self) -> Iterator[list[Array]]:
        """Yield inputs, labels and which of them count, of whole batches."""
        size = self._batch_size
        for x, y in self._stream.batches(self._split, size):
            arrays = _padded(x, size), _padded(y, size), np.arange(size) < len(y)
            rows = self._layout.rows(size)
            yield [self._layout.place_batch(a[rows], rows, size) for a in arrays]

    def outputs(self, state: TrainState) -> tuple[np.ndarray, np.ndarray]:
        """Return the probability of each class, and the right classes."""
        rows, labels = [], []
        for x, y in self._stream.batches(self._split, self._batch_size):
            probabilities = self._probabilities(state, _padded(x, self._batch_size))
            rows.append(np.asarray(probabilities)[: len(y)])
            labels.append(y)
        return np.concatenate(rows), np.concatenate(labels)


def evaluations(
    experiment: Experiment,
    opened: Dataset | StreamingDataset,
    ops: ModuleType = explicit_ops,
    layout: Layout = SINGLE,
) -> dict[str, Evaluation]:
    """Return what measures each split that training watches: "validation" if any, and "test"."""
    if isinstance(opened, Dataset):
        splits = {"validation": opened.validation, "test": opened.test}
        there = {name: split for name, split in splits.items() if split is not None}
        return {n: DeviceEvaluation(experiment, s, ops, layout) for n, s in there.items()}
    present = [name for name in ("validation", "test") if opened.labels(name) is not None]
    return {name: StreamEvaluation(experiment, opened, ops, name, layout) for name in present}


def _padded(rows: np.ndarray, count: int) -> np.ndarray:
    return np.pad(rows, [(0, count - len(rows))] + [(0, 0)] * (rows.ndim - 1))


def make_predict(
    experiment: Experiment, ops: ModuleType = explicit_ops, shards: Shards = WHOLE
) -> Callable[[TrainState, Array], Array]:
    """Return ``(state, x) -> prediction`` (logits for most losses), float32.

    Args:
        experiment: Whose model it is.
        ops: Through which operations.
        shards: Of what part of a batch, inside ``jax.shard_map``.
    """
    model, dtype = experiment.model, jnp.dtype(experiment.training.precision)

    def predict(state: TrainState, x: Array) -> Array:
        prediction, _ = model.apply(*state.evaluated, x.astype(dtype), ops=ops, shards=shards)
        return prediction.astype(jnp.float32)

    def predict_both(state: TrainState, x: Array) -> Array:
        return (predict(state, x) + predict(state, x[:, :, ::-1])) / 2

    return predict_both if experiment.training.mirrored_evaluation else predict


def make_probabilities(
    experiment: Experiment, ops: ModuleType = explicit_ops
) -> Callable[[TrainState, Array], Array]:
    """Return ``(state, x) -> probability of each class``, float32 (N, K)."""
    predict = make_predict(experiment, ops)
    return lambda state, x: experiment.loss.probabilities(predict(state, x))


def _batch_size(experiment: Experiment) -> int:
    return max(experiment.training.batch_size, SMALLEST_BATCH)


def _make_measure(experiment: Experiment, ops: ModuleType, layout: Layout):
    predict, loss = make_predict(experiment, ops, layout.shards), experiment.loss

    def measure(state: TrainState, x: Array, y: Array, valid: Array) -> Totals:
        prediction = predict(state, x)
        losses = jnp.where(valid, loss.per_example(prediction, y, ops), 0.0)
        correct = jnp.logical_and(valid, loss.predict(prediction) == y)
        return Totals.of(losses.sum(), correct.sum(dtype=jnp.int32), valid.sum(dtype=jnp.int32))

    return measure


def _make_loop(measure, batch_size: int):
    """The last batch starts early, so that it is whole; what it repeats doesn't count."""

    def loop(state: TrainState, x: Array, y: Array) -> Totals:
        count = len(y)

        def body(index, totals):
            wished = index * batch_size
            start = jnp.minimum(wished, count - batch_size)
            rows = [lax.dynamic_slice_in_dim(array, start, batch_size) for array in (x, y)]
            valid = start + jnp.arange(batch_size, dtype=jnp.int32) >= wished
            return totals.plus(measure(state, *rows, valid))

        return lax.fori_loop(0, -(-count // batch_size), body, Totals.zero())

    return loop


def _make_shared_measure(measure, layout: Layout):
    """The measure of a batch of which each device has a part."""

    def of_part(state: TrainState, x: Array, y: Array, valid: Array) -> Totals:
        totals = measure(state, layout.own_rows(x), y, valid)
        return layout.added((), layout.once(totals))[1]

    if layout.mesh is None:
        return measure
    batch = layout.batch

    def of_batch(state: TrainState, *arrays: Array) -> Totals:
        specs = (layout.specs(state), batch, batch, batch)
        return layout.each(of_part, specs, P())(state, *arrays)

    return of_batch


def _make_shared_loop(measure, batch_size: int, layout: Layout):
    """The loop over the batches on many devices: each takes a run of the examples."""

    def of_run(state: TrainState, x: Array, y: Array) -> Totals:
        count, run = len(y), -(-len(y) // layout.parts)
        size = min(batch_size, run)
        first = lax.axis_index(layout.shards.batch) * run

        def body(index, totals):
            wished = first + index * size
            start = jnp.minimum(wished, count - size)
            rows = [lax.dynamic_slice_in_dim(array, start, size) for array in (x, y)]
            place = start + jnp.arange(size, dtype=jnp.int32)
            valid = (place >= wished) & (place < first + run)
            some_x, some_y = rows
            return totals.plus(measure(state, layout.own_rows(some_x), some_y, valid))

        totals = lax.fori_loop(0, -(-run // size), body, Totals.zero())
        return layout.added((), layout.once(totals))[1]

    def loop(state: TrainState, x: Array, y: Array) -> Totals:
        return layout.each(of_run, (layout.specs(state), P(), P()), P())(state, x, y)

    return loop
