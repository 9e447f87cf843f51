"""The programs that measure a split: one device's, and those of devices that share each batch."""

from __future__ import annotations

from types import ModuleType

import jax.numpy as jnp
from jax import Array, lax

from jcnn.config import Experiment
from jcnn.training.layout import Layout, P
from jcnn.training.predicting import make_predict
from jcnn.training.state import Totals, TrainState


def make_measure(experiment: Experiment, ops: ModuleType, layout: Layout):
    """The sums over a batch, or over a device's part of it, of the examples that count."""
    predict, loss = make_predict(experiment, ops, layout.shards), experiment.loss

    def measure(state: TrainState, x: Array, y: Array, valid: Array) -> Totals:
        prediction = predict(state, x)
        losses = jnp.where(valid, loss.per_example(prediction, y, ops), 0.0)
        correct = jnp.logical_and(valid, loss.predict(prediction) == y)
        return Totals.of(losses.sum(), correct.sum(dtype=jnp.int32), valid.sum(dtype=jnp.int32))

    return measure


def make_loop(measure, batch_size: int, _: Layout):
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


def make_shared_loop(measure, batch_size: int, layout: Layout):
    """The same on many devices, each of which takes its part of each batch."""
    part = -(-batch_size // layout.parts)

    def on_each(state: TrainState, x: Array, y: Array, first: Array, last: Array) -> Totals:
        count, before = len(y), lax.axis_index(layout.shards.batch) * part

        def body(index, totals):
            end = (index + 1) * batch_size
            wished = index * batch_size + before
            start = jnp.minimum(wished, count - part)
            some_x, some_y = (lax.dynamic_slice_in_dim(array, start, part) for array in (x, y))
            place = start + jnp.arange(part, dtype=jnp.int32)
            valid = (place >= wished) & (place < end)
            return totals.plus(measure(state, layout.own_rows(some_x), some_y, valid))

        totals = lax.fori_loop(first, last, body, Totals.zero())
        return layout.added((), layout.once(totals))[1]

    def loop(state: TrainState, x: Array, y: Array, totals: Totals, first: Array, last: Array):
        specs = (layout.specs(state), P(), P(), P(), P())
        return totals.plus(layout.each(on_each, specs, P())(state, x, y, first, last))

    return loop


def make_shared_measure(measure, layout: Layout):
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
