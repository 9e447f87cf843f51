"""A trace of some steps of training, which Perfetto opens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import perf_counter

import jax

from jcnn.config import Experiment
from jcnn.training.progress import Progress

# Traces grow by megabytes a second, and steps are alike.
SECONDS = 2.0


class Profile(Progress):
    """Tells another progress what it is told, and traces the first seconds after compilation.

    ``perfetto_trace.json.gz``, in a folder below the one given, opens in ui.perfetto.dev; the rest
    is for TensorBoard and XProf.
    """

    def __init__(self, progress: Progress, folder: Path) -> None:
        """Write below ``folder``."""
        self._progress, self._folder = progress, folder
        self._started: float | None = None

    def begin(self, experiment: Experiment, *, step: int, steps: int, steps_per_epoch: int) -> None:
        """See :class:`Progress`."""
        self._progress.begin(experiment, step=step, steps=steps, steps_per_epoch=steps_per_epoch)

    def remark(self, line: str) -> None:
        """See :class:`Progress`."""
        self._progress.remark(line)

    def compiled(self, seconds: float) -> None:
        """Begin the trace."""
        self._progress.compiled(seconds)
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0  # a line for each call of Python would bury the steps
        jax.profiler.start_trace(self._folder, create_perfetto_trace=True, profiler_options=options)
        self._started = perf_counter()

    def stepped(self, step: int, means: Mapping[str, float], images_per_second: float) -> None:
        """End the trace after some seconds."""
        self._progress.stepped(step, means, images_per_second)
        if self._started is not None and perf_counter() - self._started > SECONDS:
            self._stop()

    def evaluated(
        self, epoch: int, step: int, means: Mapping[str, Mapping[str, float]], seconds: float
    ) -> None:
        """See :class:`Progress`."""
        self._progress.evaluated(epoch, step, means, seconds)

    def end(self) -> None:
        """End the trace, if it goes on."""
        self._stop()
        self._progress.end()

    def _stop(self) -> None:
        if self._started is not None:
            self._started = None
            jax.profiler.stop_trace()
            self._progress.remark(f"profile in {self._folder}; open it in ui.perfetto.dev")
