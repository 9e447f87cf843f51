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
from jcnn.data import Split, StreamingDataset
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


class DeviceEvaluation:
    """A split that lives on the device, measured in one dispatch."""

    def __init__(
        self, experiment: Experiment, split: Split, ops: ModuleType = explicit_ops
    ) -> None:
        """Put the split on the device."""
        self._x, self._y = jnp.asarray(split.x), jnp.asarray(split.y)
        batch_size = min(_batch_size(experiment), len(split))
        self._jitted = self._program = jax.jit(
            _make_loop(_make_measure(experiment, ops), batch_size)
        )

    def compile(self, state: TrainState) -> None:
        """Compile the loop over the batches."""
        self._program = self._jitted.lower(state, self._x, self._y).compile()

    def __call__(self, state: TrainState) -> Means:
        """Return the mean loss and accuracy."""
        return self._program(state, self._x, self._y).means()


class StreamEvaluation:
    """The test split of a stream, measured batch by batch."""

    def __init__(
        self, experiment: Experiment, stream: StreamingDataset, ops: ModuleType = explicit_ops
    ) -> None:
        """Read nothing yet."""
        self._stream, self._batch_size = stream, _batch_size(experiment)
        self._shape = (self._batch_size, *experiment.input_shape)
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
        for x, y in self._stream.test_batches(self._batch_size):
            missing = self._batch_size - len(y)
            valid = jnp.arange(self._batch_size) < len(y)
            x = np.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1))
            y = np.pad(y, (0, missing))
            totals = totals.plus(self._program(state, jnp.asarray(x), jnp.asarray(y), valid))
        return totals.means()


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
