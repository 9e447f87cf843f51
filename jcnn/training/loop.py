"""The training of one experiment into one run's folder."""

from __future__ import annotations

from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import TYPE_CHECKING, Any

import jax

from jcnn import ops as explicit_ops
from jcnn.config import Experiment
from jcnn.runs import environment
from jcnn.runs.resumption import check_continues
from jcnn.runs.run import Run
from jcnn.training.calibration import calibrated
from jcnn.training.evaluation import DeviceEvaluation, Evaluation, Means, StreamEvaluation
from jcnn.training.feeds import DeviceFeed, Feed, StreamFeed
from jcnn.training.interruption import Interruption
from jcnn.training.pacing import Pacer
from jcnn.training.progress import Progress
from jcnn.training.state import Totals, Weights
from jcnn.training.step import checkpointed
from jcnn.weights.safetensors import initial_weights

if TYPE_CHECKING:
    from jcnn.runs.checkpoints import Checkpoints
    from jcnn.runs.events import Events

CHECKPOINT_SECONDS = 1.0

Summary = dict[str, Any]


def train(
    experiment: Experiment,
    out: str | PathLike[str],
    *,
    resume: bool = False,
    progress: Progress | None = None,
    ops: ModuleType = explicit_ops,
) -> Summary:
    """Train an experiment, write the run's folder, and return what ``summary.json`` holds.

    The same experiment gives the same bits on the same machine and versions, whether it runs in one
    go or is interrupted and resumed.

    Args:
        experiment: What to train, and on what.
        out: The run's folder.
        resume: Continue the run in ``out`` from its newest checkpoint.
        progress: Told what happens.
        ops: :mod:`jcnn.ops`, or :mod:`jcnn.reference` to train through ``jax.grad`` alone.

    Raises:
        UserError: Data are missing or damaged, or ``out`` can't be used.
        Interrupted: On Ctrl-C or SIGTERM, after a checkpoint was written.
    """
    started = perf_counter()
    run, experiment, weights = Run(Path(out)), experiment.resolved(), None
    if resume:
        run = Run.open(run.folder)
        check_continues(run, experiment)
    else:
        run.check_unused()
        weights = initial_weights(experiment)  # a file that doesn't fit leaves no run behind
    feed, evaluation = prepare(experiment, ops)
    if not resume:
        run.create(experiment)
    from jcnn.runs.checkpoints import Checkpoints
    from jcnn.runs.events import Events

    with ExitStack() as stack:
        checkpoints = stack.enter_context(Checkpoints(run.checkpoints_folder))
        interruption = stack.enter_context(Interruption())
        progress = progress or Progress()
        stack.callback(progress.end)
        trainer = Trainer(experiment, run, feed, evaluation, checkpoints, progress, started)
        trainer.start(weights)
        events = stack.enter_context(Events(run.events_folder, from_step=trainer.step))
        trainer.run_to_end(events, interruption)
    summary = trainer.summary()
    run.write_summary(summary)
    return summary


def prepare(experiment: Experiment, ops: ModuleType = explicit_ops) -> tuple[Feed, Evaluation]:
    """Load the data and build, without compiling it, what trains and what measures."""
    stream = experiment.data.stream()
    if stream is not None:
        return StreamFeed(experiment, stream, ops), StreamEvaluation(experiment, stream, ops)
    dataset = experiment.data.load()
    feed = DeviceFeed(experiment, dataset.train, ops)
    return feed, DeviceEvaluation(experiment, dataset.test, ops)


class Trainer:
    """A run under way: where it stands, and what takes it further."""

    def __init__(
        self,
        experiment: Experiment,
        run: Run,
        feed: Feed,
        evaluation: Evaluation,
        checkpoints: Checkpoints,
        progress: Progress,
        started: float,
    ) -> None:
        """Stand at the start; ``started`` is when the person began to wait."""
        self._experiment, self._run = experiment, run
        self._feed, self._evaluation = feed, evaluation
        self._checkpoints, self._progress = checkpoints, progress
        self._steps_per_epoch = feed.step.steps_per_epoch
        self._steps = experiment.training.epochs * self._steps_per_epoch
        self._pacer = Pacer(experiment.training.steps_per_dispatch)
        self._started, self._saved = started, started
        self._spent = {"seconds": 0.0, "compile_seconds": 0.0, "sessions": 0}
        self.step = 0

    def start(self, weights: Weights | None = None) -> None:
        """Compile, and take the state from the newest checkpoint, or make it of ``weights``."""
        like = checkpointed(self._feed.step)
        latest = self._checkpoints.latest_step()
        if latest is not None:
            tree = self._checkpoints.restore(like)
            self._state, self._totals = tree["state"], tree["totals"]
            self._spent |= self._checkpoints.record()
            self.step = latest
        self._evaluated = {row["split"]: row for row in self._run.rewind_metrics(self.step)}
        self._progress.begin(
            self._experiment,
            step=self.step,
            steps=self._steps,
            steps_per_epoch=self._steps_per_epoch,
        )
        if self.step < self._steps:
            before = perf_counter()
            self._feed.compile(like["state"], like["totals"])
            self._evaluation.compile(like["state"])
            if latest is None:
                self._begin(weights)
            seconds = perf_counter() - before
            self._spent["compile_seconds"] += seconds
            self._progress.compiled(seconds)
        self._spent["sessions"] += 1

    def _begin(self, weights: Weights | None) -> None:
        weights = weights or initial_weights(self._experiment)
        weights = weights or calibrated(self._experiment, self._feed)
        self._state, self._totals = jax.jit(self._feed.step.init)(weights), Totals.zero()

    def run_to_end(self, events: Events, interruption: Interruption) -> None:
        """Train the epochs that are left; evaluate and save where the experiment says."""
        every = self._experiment.training.evaluate_every_epochs
        while self.step < self._steps:
            self._train_epoch(interruption)
            epoch = self.step // self._steps_per_epoch
            if epoch % every == 0 or self.step == self._steps:
                self._evaluate(epoch, events)
            if self.step < self._steps:
                self._check(interruption)
        self._save()
        self._checkpoints.wait()

    def _train_epoch(self, interruption: Interruption) -> None:
        """Dispatch to the end of the epoch, each time waiting for the dispatch before the last."""
        end = (self.step // self._steps_per_epoch + 1) * self._steps_per_epoch
        underway: tuple[int, int, Totals] | None = None
        self._waited = perf_counter()
        while self.step < end:
            count = self._pacer.next(end - self.step)
            self._state, self._totals = self._feed.advance(
                self._state, self._totals, self.step, count
            )
            self.step += count
            self._wait(underway)
            underway = self.step, count, self._totals
            if self.step < end:
                self._check(interruption)
        self._wait(underway)

    def _wait(self, underway: tuple[int, int, Totals] | None) -> None:
        """Read the metrics of a dispatch, which waits for it, and show them."""
        if underway is None:
            return
        step, count, totals = underway
        means = totals.means()
        now = perf_counter()
        seconds, self._waited = now - self._waited, now
        self._pacer.took(count, seconds)
        images = count * self._experiment.training.batch_size
        self._progress.stepped(step, means, images / max(seconds, 1e-9))

    def _evaluate(self, epoch: int, events: Events) -> None:
        """Measure the test split; the training row is the mean of the steps since the last time."""
        means = {"train": self._totals.means(), "test": self._evaluation(self._state)}
        self._totals = Totals.zero()
        seconds = round(self._seconds(), 3)
        rows = [
            {"step": self.step, "epoch": epoch, "split": split, **_json(values), "seconds": seconds}
            for split, values in means.items()
        ]
        self._evaluated = {row["split"]: row for row in rows}
        self._run.append_metrics(rows)
        for split, values in means.items():
            events.write(split, self.step, values)
        self._progress.evaluated(epoch, self.step, means["test"], means["train"], seconds)
        if perf_counter() - self._saved >= CHECKPOINT_SECONDS:
            self._save()

    def _check(self, interruption: Interruption) -> None:
        if interruption.signal_number is not None:
            self._save()
            self._checkpoints.wait()
            interruption.check(self.step)

    def _save(self) -> None:
        self._saved = perf_counter()
        tree = {"state": self._state, "totals": self._totals}
        self._checkpoints.save(self.step, tree, {**self._spent, "seconds": self._seconds()})

    def _seconds(self) -> float:
        return self._spent["seconds"] + perf_counter() - self._started

    def summary(self) -> Summary:
        """Return what ``summary.json`` holds."""
        experiment = self._experiment
        means = {
            split: {name: self._evaluated[split][name] for name in ("loss", "accuracy")}
            for split in ("test", "train")
        }
        return {
            "name": experiment.name,
            **means,
            "seconds": round(self._seconds(), 3),
            "compile_seconds": round(self._spent["compile_seconds"], 3),
            "sessions": self._spent["sessions"],
            "epochs": experiment.training.epochs,
            "steps": self.step,
            "batch_size": experiment.training.batch_size,
            "parameters": experiment.model.cost(experiment.input_shape).parameters,
            "seed": experiment.seed,
            "precision": experiment.training.precision,
            "versions": environment.versions(),
            "hardware": environment.hardware(),
        }


def _json(means: Means) -> dict[str, float | None]:
    """Write null for a loss that is infinite or not a number: JSON cannot hold these."""
    return {name: value if abs(value) < float("inf") else None for name, value in means.items()}
