"""How training examples reach the step: from the device, or from a stream."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from time import perf_counter
from types import ModuleType
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jcnn import ops as explicit_ops
from jcnn.config import Experiment
from jcnn.data import Batch, Split, StreamingDataset
from jcnn.errors import UserError
from jcnn.training import keys
from jcnn.training.layout import SINGLE, Layout, P
from jcnn.training.sharing import Program, Shared
from jcnn.training.state import Totals, TrainState
from jcnn.training.step import Step, all_finite, checkpointed

Progressed = tuple[TrainState, Totals]


class Feed(Protocol):
    """Takes the training state forward. The last, partial batch of an epoch is left out."""

    step: Step

    def compile(self, state: TrainState, totals: Totals) -> None:
        """Compile for arguments like these (arrays or their shapes)."""
        ...

    def sample(self, count: int) -> Array:
        """Return at most ``count`` training inputs, the same ones each time."""
        ...

    def batch(self, step: int) -> Batch:
        """Return the examples of a step, not yet augmented."""
        ...

    def advance(self, state: TrainState, totals: Totals, step: int, count: int) -> Progressed:
        """Dispatch ``count`` steps from ``step`` on, none beyond its epoch; consumes ``state``.

        Where what isn't finite stops the run, ``totals.skipped`` is above 0 once it did: with a
        guarded step, and then those after it change nothing; else at the end of the dispatch, since
        to look at every gradient takes a small network longer than to compute it.
        """
        ...

    def guarded(self) -> Feed:
        """Return the same with a guarded step."""
        ...

    def waiting(self) -> float | None:
        """Return the share of time that the device waited for data since this was asked last."""
        ...


def _allowed(experiment: Experiment) -> int:
    """Return how many skipped steps don't stop the run."""
    return 0 if experiment.training.on_nonfinite == "stop" else np.iinfo(np.int32).max


def _make_step(experiment: Experiment, ops: ModuleType, examples: int, layout: Layout) -> Step:
    """Return the step of epochs that have as many whole batches as there are.

    Raises:
        UserError: Not one.
    """
    batch_size = experiment.training.batch_size
    if batch_size > examples:
        raise UserError(
            f"training.batch_size is {batch_size}, but data set '{experiment.data.name}' has only "
            f"{examples} training examples"
        )
    return Step(experiment, ops, steps_per_epoch=examples // batch_size, layout=layout)


def _looked_at(step: Step, state: TrainState, totals: Totals) -> Totals:
    """Count a step as failed where an unguarded one has left what is not finite."""
    if step.guarded:
        return totals
    sound = all_finite((totals.loss, state.params, state.state))
    return totals._replace(skipped=totals.skipped + (~sound).astype(jnp.int32))


def _guarded(step: Step, experiment: Experiment) -> Step:
    how = {"steps_per_epoch": step.steps_per_epoch, "layout": step.layout}
    return Step(experiment, step.ops, guarded=True, **how)


class DeviceFeed:
    """Examples that live on the device, on a mesh all of them on each; many steps per dispatch.

    The trip count of the loop is an argument of the compiled program: one compilation serves any
    number of steps, and their number changes no bit of the result.
    """

    def __init__(
        self,
        experiment: Experiment,
        train: Split,
        ops: ModuleType = explicit_ops,
        shared: Shared | None = None,
        layout: Layout = SINGLE,
    ) -> None:
        """Put the examples on the device."""
        self.step = _make_step(experiment, ops, len(train), layout)
        self._experiment, self._train = experiment, train
        self._seed, self._batch_size = experiment.seed, experiment.training.batch_size
        self._x, self._y = map(_on_device, layout.place((train.x, train.y)))
        options = {"donate_argnums": 0, **_results(self.step)}
        self._jitted = (shared or Shared()).program(
            "steps", experiment, lambda: _make_loop(experiment, self.step), ops, **options
        )
        self._program = self._jitted.call
        self._order: tuple[int, Array] | None = None

    def compile(self, state: TrainState, totals: Totals) -> None:
        """Compile the loop over the steps."""
        arguments = (
            np.uint32(self._seed),
            self._x,
            self._y,
            self._shuffled(0),
            np.int32(0),
            np.int32(0),
        )
        carried = self.step.layout.shaped((state, totals))
        self._program = self._jitted.compile(*carried, *arguments)

    def sample(self, count: int) -> Array:
        """Return the first examples."""
        return jnp.asarray(self._train.x[:count])

    def batch(self, step: int) -> Batch:
        """Take the examples from the epoch's order."""
        epoch, place = divmod(step, self.step.steps_per_epoch)
        order = keys.shuffled(self._seed, epoch, len(self._train))
        some = self._train.take(order[place * self._batch_size : (place + 1) * self._batch_size])
        return some.x, some.y

    def advance(self, state: TrainState, totals: Totals, step: int, count: int) -> Progressed:
        """Dispatch ``count`` steps as one program."""
        epoch, first = divmod(step, self.step.steps_per_epoch)
        bounds = np.int32(first), np.int32(first + count)
        examples = self._x, self._y, self._shuffled(epoch)
        state, totals = self.step.layout.place((state, totals))
        return self._program(state, totals, np.uint32(self._seed), *examples, *bounds)

    def guarded(self) -> Feed:
        """Take the same examples from the device."""
        other = copy(self)
        other.step = _guarded(self.step, self._experiment)
        other._jitted = Program(_make_loop(self._experiment, other.step), **_results(other.step))
        other._program = other._jitted.call
        return other

    def waiting(self) -> None:
        """All data are on the device."""

    def _shuffled(self, epoch: int) -> Array:
        if self._order is None or self._order[0] != epoch:
            order = keys.shuffled(self._seed, epoch, len(self._train))
            self._order = epoch, _on_device(self.step.layout.place(order))
        return self._order[1]


def _make_loop(experiment: Experiment, step: Step):
    batch_size = experiment.training.batch_size
    allowed = _allowed(experiment) if step.guarded else np.iinfo(np.int32).max
    batch = step.layout.batch
    take = step.layout.each(_taken, (batch, P(), P()), (batch, batch))

    def loop(state, totals, seed, x, y, order, first, last):
        def goes_on(carried):
            index, (_, totals) = carried
            return (index < last) & (totals.skipped <= allowed)

        def body(carried):
            index, (state, totals) = carried
            rows = lax.dynamic_slice_in_dim(order, index * batch_size, batch_size)
            some_x, some_y = take(rows, x, y)
            state, batch_totals = step(state, some_x, some_y, keys.step_key(seed, state.step))
            return index + 1, (state, totals.plus(batch_totals))

        state, totals = lax.while_loop(goes_on, body, (first, (state, totals)))[1]
        return state, _looked_at(step, state, totals)

    return loop


def _on_device(a: Array | np.ndarray) -> Array:
    return jnp.asarray(a) if isinstance(a, np.ndarray) else a


def _results(step: Step) -> dict[str, Any]:
    like = checkpointed(step)
    return step.layout.results((like["state"], like["totals"]))


def _taken(rows: Array, x: Array, y: Array) -> tuple[Array, Array]:
    return x.at[rows].get(mode="promise_in_bounds"), y.at[rows].get(mode="promise_in_bounds")


class StreamFeed:
    """Examples that are read while they are used; one step per dispatch."""

    def __init__(
        self,
        experiment: Experiment,
        stream: StreamingDataset,
        ops: ModuleType = explicit_ops,
        shared: Shared | None = None,
        layout: Layout = SINGLE,
    ) -> None:
        """Read nothing yet."""
        self.step = _make_step(experiment, ops, stream.train_count, layout)
        self._experiment = experiment
        self._batch_size, self._seed = experiment.training.batch_size, experiment.seed
        self._shape = (self._batch_size, *experiment.input_shape)
        self._stream = stream
        self._batches: Iterator[Batch] | None = None
        self._waited, self._asked = 0.0, perf_counter()
        options = {"donate_argnums": 0, **_results(self.step)}
        self._jitted = (shared or Shared()).program(
            "step", experiment, lambda: _make_single(experiment, self.step), ops, **options
        )
        self._program = self._jitted.call

    def compile(self, state: TrainState, totals: Totals) -> None:
        """Compile one step."""
        x, y = self.step.layout.shaped_batch(self._shape)
        carried = self.step.layout.shaped((state, totals))
        self._program = self._jitted.compile(*carried, np.uint32(self._seed), x, y)

    def sample(self, count: int) -> Array:
        """Return the first batch, or its beginning."""
        batches = self._stream.train_batches(self._batch_size, seed=self._seed, start_step=0)
        return jnp.asarray(next(batches)[0][:count])

    def batch(self, step: int) -> Batch:
        """Read it again."""
        return next(self._stream.train_batches(self._batch_size, seed=self._seed, start_step=step))

    def advance(self, state: TrainState, totals: Totals, step: int, count: int) -> Progressed:
        """Read and dispatch ``count`` batches.

        The device works on one batch while the next is read and is on its way to it.
        """
        layout = self.step.layout
        rows = layout.rows(self._batch_size)
        if self._batches is None:
            how = {"rows": rows} if rows != slice(0, self._batch_size) else {}
            self._batches = self._stream.train_batches(
                self._batch_size, seed=self._seed, start_step=step, **how
            )
        state, totals = layout.place((state, totals))
        for _ in range(count):
            arrays = self._read_next(totals)
            x, y = (layout.place_batch(a, rows, self._batch_size) for a in arrays)
            state, totals = self._program(state, totals, np.uint32(self._seed), x, y)
        return state, totals

    def _read_next(self, underway: Totals) -> Batch:
        """Read a batch; the device has waited for it where the step before has ended."""
        assert self._batches is not None
        before = perf_counter()
        batch = next(self._batches)
        ready: Any = underway.loss  # its methods beyond the type
        if ready.is_ready():  # at some time while this was read: at most so long
            self._waited += perf_counter() - before
        return batch

    def waiting(self) -> float:
        """See :meth:`Feed.waiting`; at most so much."""
        now = perf_counter()
        share = self._waited / max(now - self._asked, 1e-9)
        self._waited, self._asked = 0.0, now
        return min(share, 1.0)

    def guarded(self) -> Feed:
        """Read the same stream from where it is asked to."""
        other = copy(self)
        other.step, other._batches = _guarded(self.step, self._experiment), None
        single = _make_single(self._experiment, other.step)
        other._jitted = Program(single, **_results(other.step))
        other._program = other._jitted.call
        return other


def _make_single(experiment: Experiment, step: Step):
    allowed = _allowed(experiment)

    def single(state, totals, seed, x, y):
        after, batch_totals = step(state, x, y, keys.step_key(seed, state.step))
        if not step.guarded:
            return after, _looked_at(step, after, totals.plus(batch_totals))
        return jax.tree.map(
            lambda a, b: jnp.where(totals.skipped <= allowed, a, b),
            (after, totals.plus(batch_totals)),
            (state, totals),
        )

    return single
