"""Where the metrics of an evaluation go beside ``metrics.jsonl``: TensorBoard, a tracker."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Self

import jax
import numpy as np

from jcnn.config import Experiment
from jcnn.runs.run import Run
from jcnn.training import keys
from jcnn.training.feeds import Feed
from jcnn.training.state import TrainState


class Records:
    """All that is told of evaluations, while entered."""

    def __init__(
        self, experiment: Experiment, run: Run, feed: Feed, *, from_step: int, writes: bool = True
    ) -> None:
        """Start a tracker where there is one, and a new event file; neither unless ``writes``."""
        from jcnn.runs.events import Events
        from jcnn.runs.trackers import open_tracker

        self._experiment, self._feed = experiment, feed
        self._gradients = jax.jit(self._compute_gradients)
        self._batch: tuple[Any, Any] | None = None
        self._open, self._writes = ExitStack(), writes
        if not writes:
            return
        tracking = experiment.tracking
        with ExitStack() as stack:
            self._events = stack.enter_context(Events(run.events_folder, from_step=from_step))
            self._tracker = open_tracker(tracking, experiment, run) if tracking else None
            if self._tracker:
                stack.callback(self._tracker.close)
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is left, and close."""
        self._open.close()

    def write(self, step: int, means: Mapping[str, Mapping[str, Any]], state: TrainState) -> None:
        """Tell of an evaluation: the numbers of each split, and of the state if that is wanted."""
        # all processes compute them, and gather what lies on the devices of several
        pictured = self._pictured(state) if self._experiment.training.histograms else None
        if not self._writes:
            return
        numbers = {
            split: {n: v for n, v in values.items() if isinstance(v, float)}
            for split, values in means.items()
        }
        for split, values in numbers.items():
            self._events.write(split, step, values)
        if self._tracker:
            flat = {f"{s}/{n}": v for s, values in numbers.items() for n, v in values.items()}
            self._tracker.log(step, flat)
        if pictured:
            self._write_histograms(step, *pictured)

    def _write_histograms(self, step: int, weights: Any, gradients: Any) -> None:
        named = _named(weights)
        self._events.histograms("weights", step, named)
        self._events.histograms("gradients", step, _named(gradients))
        first = next((a for n, a in named.items() if n.endswith("/w")), None)
        if first is not None and first.ndim == 4:
            self._events.filters(step, first)

    def _pictured(self, state: TrainState) -> tuple[Any, Any]:
        """Return the parameters and their gradients of the first batch, whole."""
        self._batch = self._batch or self._feed.batch(0)
        gradients = self._gradients(state, *self._batch)
        return self._feed.step.layout.gathered((state.params, gradients))

    def _compute_gradients(self, state: TrainState, x: Any, y: Any) -> Any:
        step = self._feed.step
        key = keys.step_key(self._experiment.seed, state.step)
        x, key = step.prepared(x, key, state.step)
        return step.gradients(state, x, y, key)[0]


def _named(tree: Any) -> dict[str, np.ndarray]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {"/".join(str(k.key) for k in path): np.asarray(leaf) for path, leaf in leaves}
