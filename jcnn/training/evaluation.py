"""Loss and accuracy over a whole split: each example counts once, the last batch too."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter
from types import ModuleType
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jcnn import ops as explicit_ops
from jcnn.config import Experiment
from jcnn.data import Dataset, Split, StreamingDataset
from jcnn.runs.statistics import share_interval
from jcnn.training.sharing import Shared
from jcnn.training.state import Totals, TrainState

SMALLEST_BATCH = 128

Means = dict[str, Any]


class Evaluation(Protocol):
    """Measures a state on one split."""

    def compile(self, state: TrainState) -> None:
        """Compile for a state like this one (arrays or their shapes)."""
        ...

    def __call__(self, state: TrainState, seconds: float = math.inf) -> Means:
        """Return the mean loss and accuracy.

        Args:
            state: What is measured.
            seconds: Time after which no further batch is measured, see :func:`measured`.
        """
        ...

    def outputs(
        self, state: TrainState, examples: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the probability of each class (N, K), and the right classes (N,).

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
    ) -> None:
        """Put the split on the device."""
        if experiment.training.evaluate_max_seconds:  # a part of it has to be like the whole
            split = split.take(np.random.default_rng(0).permutation(len(split)))
        self._x, self._y = jnp.asarray(split.x), jnp.asarray(split.y)
        self._batch_size = min(_batch_size(experiment), len(split))
        size = self._batch_size
        self._jitted = (shared or Shared()).program(
            f"evaluation {size}",
            experiment,
            lambda: _make_loop(_make_measure(experiment, ops), size),
        )
        self._program = self._jitted.call
        self._probabilities = jax.jit(make_probabilities(experiment, ops))

    def compile(self, state: TrainState) -> None:
        """Compile the loop over the batches."""
        arguments = self._x, self._y, jax.eval_shape(Totals.zero), np.int32(0), np.int32(0)
        self._program = self._jitted.compile(state, *arguments)

    def __call__(self, state: TrainState, seconds: float = math.inf) -> Means:
        """Return the mean loss and accuracy."""
        batches, totals = -(-len(self._y) // self._batch_size), Totals.zero()
        first, started = 0, perf_counter()
        while first < batches:
            spent = perf_counter() - started
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
        """Return the probability of each class, and the right classes."""
        size, rows = self._batch_size, []
        count = len(self._y) if examples is None else examples
        for start in range(0, count, size):
            batch = _padded(np.asarray(self._x[start : start + size]), size)
            rows.append(np.asarray(self._probabilities(state, batch)))
        return np.concatenate(rows)[:count], np.asarray(self._y[:count])


class StreamEvaluation:
    """A split of a stream, measured batch by batch."""

    def __init__(
        self,
        experiment: Experiment,
        stream: StreamingDataset,
        ops: ModuleType = explicit_ops,
        split: str = "test",
        shared: Shared | None = None,
    ) -> None:
        """Read nothing yet."""
        self._stream, self._split = stream, split
        self._batch_size = _batch_size(experiment)
        self._mixed = {"mixed": True} if experiment.training.evaluate_max_seconds else {}
        self._shape = (self._batch_size, *experiment.input_shape)
        self._probabilities = jax.jit(make_probabilities(experiment, ops))
        self._jitted = (shared or Shared()).program(
            "measure", experiment, lambda: _make_measure(experiment, ops)
        )
        self._program = self._jitted.call

    def compile(self, state: TrainState) -> None:
        """Compile the measure of one batch."""
        x = jax.ShapeDtypeStruct(self._shape, jnp.float32)
        y = jax.ShapeDtypeStruct(self._shape[:1], jnp.int32)
        valid = jax.ShapeDtypeStruct(self._shape[:1], jnp.bool_)
        self._program = self._jitted.compile(state, x, y, valid)

    def __call__(self, state: TrainState, seconds: float = math.inf) -> Means:
        """Return the mean loss and accuracy."""
        totals, started = Totals.zero(), perf_counter()
        for x, y in self._stream.batches(self._split, self._batch_size, **self._mixed):
            valid = jnp.arange(self._batch_size) < len(y)
            x, y = (jnp.asarray(_padded(a, self._batch_size)) for a in (x, y))
            totals = totals.plus(self._program(state, x, y, valid))
            if seconds < math.inf:
                jax.block_until_ready(totals)
            if perf_counter() - started >= seconds:
                break
        labels = self._stream.labels(self._split)
        return measured(totals, 0 if labels is None else len(labels))

    def outputs(
        self, state: TrainState, examples: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the probability of each class, and the right classes."""
        rows, labels = [], []
        for x, y in self._stream.batches(self._split, self._batch_size, **self._mixed):
            if examples is not None and sum(map(len, labels)) >= examples:
                break
            probabilities = self._probabilities(state, _padded(x, self._batch_size))
            rows.append(np.asarray(probabilities)[: len(y)])
            labels.append(y)
        return np.concatenate(rows), np.concatenate(labels)


def evaluations(
    experiment: Experiment,
    opened: Dataset | StreamingDataset,
    ops: ModuleType = explicit_ops,
    shared: Shared | None = None,
) -> dict[str, Evaluation]:
    """Return what measures each split that training watches: "validation" if any, and "test"."""
    if isinstance(opened, Dataset):
        splits = {"validation": opened.validation, "test": opened.test}
        present = {name: split for name, split in splits.items() if split is not None}
        return {n: DeviceEvaluation(experiment, s, ops, shared) for n, s in present.items()}
    present = [name for name in ("validation", "test") if opened.labels(name) is not None]
    return {name: StreamEvaluation(experiment, opened, ops, name, shared) for name in present}


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

    def loop(state: TrainState, x: Array, y: Array, totals: Totals, first: Array, last: Array):
        count = len(y)

        def body(index, totals):
            wished = index * batch_size
            start = jnp.minimum(wished, count - batch_size)
            rows = [lax.dynamic_slice_in_dim(array, start, batch_size) for array in (x, y)]
            valid = start + jnp.arange(batch_size, dtype=jnp.int32) >= wished
            return totals.plus(measure(state, *rows, valid))

        return lax.fori_loop(first, last, body, totals)

    return loop
