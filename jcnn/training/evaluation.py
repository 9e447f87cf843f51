"""Loss and accuracy over a whole split: each example counts once, the last batch too."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jcnn import ops as explicit_ops
from jcnn.config import Experiment
from jcnn.data import Dataset, Split, StreamingDataset
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
        self, experiment: Experiment, split: Split, ops: ModuleType = explicit_ops
    ) -> None:
        """Put the split on the device."""
        self._x, self._y = jnp.asarray(split.x), jnp.asarray(split.y)
        self._batch_size = min(_batch_size(experiment), len(split))
        self._jitted = self._program = jax.jit(
            _make_loop(_make_measure(experiment, ops), self._batch_size)
        )
        self._probabilities = jax.jit(make_probabilities(experiment, ops))

    def compile(self, state: TrainState) -> None:
        """Compile the loop over the batches."""
        self._program = self._jitted.lower(state, self._x, self._y).compile()

    def __call__(self, state: TrainState) -> Means:
        """Return the mean loss and accuracy."""
        return self._program(state, self._x, self._y).means()

    def outputs(self, state: TrainState) -> tuple[np.ndarray, np.ndarray]:
        """Return the probability of each class, and the right classes."""
        size, rows = self._batch_size, []
        for start in range(0, len(self._y), size):
            batch = _padded(np.asarray(self._x[start : start + size]), size)
            rows.append(np.asarray(self._probabilities(state, batch)))
        return np.concatenate(rows)[: len(self._y)], np.asarray(self._y)


class StreamEvaluation:
    """A split of a stream, measured batch by batch."""

    def __init__(
        self,
        experiment: Experiment,
        stream: StreamingDataset,
        ops: ModuleType = explicit_ops,
        split: str = "test",
    ) -> None:
        """Read nothing yet."""
        self._stream, self._split = stream, split
        self._batch_size = _batch_size(experiment)
        self._shape = (self._batch_size, *experiment.input_shape)
        self._probabilities = jax.jit(make_probabilities(experiment, ops))
        self._jitted = self._program = jax.jit(_make_measure(experiment, ops))

    def compile(self, state: TrainState) -> None:
        """Compile the measure of one batch."""
        x = jax.ShapeDtypeStruct(self._shape, jnp.float32)
        y = jax.ShapeDtypeStruct(self._shape[:1], jnp.int32)
        valid = jax.ShapeDtypeStruct(self._shape[:1], jnp.bool_)
        self._program = self._jitted.lower(state, x, y, valid).compile()

    def __call__(self, state: TrainState) -> Means:
        """Return the mean loss and accuracy."""
        totals = Totals.zero()
        for x, y in self._stream.batches(self._split, self._batch_size):
            valid = jnp.arange(self._batch_size) < len(y)
            x, y = (jnp.asarray(_padded(a, self._batch_size)) for a in (x, y))
            totals = totals.plus(self._program(state, x, y, valid))
        return totals.means()

    def outputs(self, state: TrainState) -> tuple[np.ndarray, np.ndarray]:
        """Return the probability of each class, and the right classes."""
        rows, labels = [], []
        for x, y in self._stream.batches(self._split, self._batch_size):
            probabilities = self._probabilities(state, _padded(x, self._batch_size))
            rows.append(np.asarray(probabilities)[: len(y)])
            labels.append(y)
        return np.concatenate(rows), np.concatenate(labels)


def evaluations(
    experiment: Experiment, opened: Dataset | StreamingDataset, ops: ModuleType = explicit_ops
) -> dict[str, Evaluation]:
    """Return what measures each split that training watches: "validation" if any, and "test"."""
    if isinstance(opened, Dataset):
        splits = {"validation": opened.validation, "test": opened.test}
        return {n: DeviceEvaluation(experiment, s, ops) for n, s in splits.items() if s is not None}
    present = [name for name in ("validation", "test") if opened.labels(name) is not None]
    return {name: StreamEvaluation(experiment, opened, ops, name) for name in present}


def _padded(rows: np.ndarray, count: int) -> np.ndarray:
    return np.pad(rows, [(0, count - len(rows))] + [(0, 0)] * (rows.ndim - 1))


def make_predict(
    experiment: Experiment, ops: ModuleType = explicit_ops
) -> Callable[[TrainState, Array], Array]:
    """Return ``(state, x) -> prediction`` (logits for most losses), float32."""
    model, dtype = experiment.model, jnp.dtype(experiment.training.precision)

    def predict(state: TrainState, x: Array) -> Array:
        prediction, _ = model.apply(*state.evaluated, x.astype(dtype), ops=ops)
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


def _make_measure(experiment: Experiment, ops: ModuleType):
    predict, loss = make_predict(experiment, ops), experiment.loss

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
