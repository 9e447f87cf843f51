"""The training of one experiment into one run's folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import TYPE_CHECKING, Any

import jax

from jcnn import ops as explicit_ops
from jcnn.config import Experiment
from jcnn.data import Dataset, StreamingDataset
from jcnn.runs import environment
from jcnn.runs.resumption import check_continues
from jcnn.runs.run import Run
from jcnn.training.calibration import calibrated
from jcnn.training.compilation import in_own_precision
from jcnn.training.early_stop import EarlyStop
from jcnn.training.evaluation import Evaluation, evaluations
from jcnn.training.feeds import DeviceFeed, Feed, StreamFeed
from jcnn.training.identity import (
    check_identity,
    identity,
    open_data,
    train_count,
    write_identity,
)
from jcnn.training.interruption import Interruption
from jcnn.training.metrics import classification_metrics
from jcnn.training.pacing import Pacer
from jcnn.training.progress import Progress
from jcnn.training.records import Records
from jcnn.training.remarks import remarks
from jcnn.training.state import Totals, Weights
from jcnn.training.step import checked, checkpointed
from jcnn.training.weight_files import initial_weights

if TYPE_CHECKING:
    from jcnn.runs.checkpoints import Checkpoints

CHECKPOINT_SECONDS = 1.0

Summary = dict[str, Any]


@in_own_precision
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
    opened = open_data(experiment)
    feed, evaluations = prepare(experiment, ops, opened)
    if resume:
        check_identity(run, identity(opened))
    else:
        run.create(experiment)
        write_identity(run, identity(opened))
    from jcnn.runs.checkpoints import Checkpoints

    with ExitStack() as stack:
        checkpoints = stack.enter_context(Checkpoints(run.checkpoints_folder))
        interruption = stack.enter_context(Interruption())
        progress = progress or Progress()
        stack.callback(progress.end)
        trainer = Trainer(experiment, run, feed, evaluations, checkpoints, progress, started)
        trainer.start(weights, examples=train_count(opened))
        records = stack.enter_context(Records(experiment, run, feed, from_step=trainer.step))
        trainer.run_to_end(records, interruption)
    summary = trainer.summary()
    run.write_summary(summary)
    return summary


def prepare(
    experiment: Experiment,
    ops: ModuleType = explicit_ops,
    opened: Dataset | StreamingDataset | None = None,
) -> tuple[Feed, dict[str, Evaluation]]:
    """Build, without compiling it, what trains and what measures each split.

    Args:
        experiment: What is to be trained.
        ops: See :func:`train`.
        opened: Its data; opened here where not given.
    """
    opened = opened or open_data(experiment)
    measures = evaluations(experiment, opened, ops)
    if isinstance(opened, Dataset):
        return DeviceFeed(experiment, opened.train, ops), measures
    return StreamFeed(experiment, opened, ops), measures


class Trainer:
    """A run under way: where it stands, and what takes it further."""

    def __init__(
        self,
        experiment: Experiment,
        run: Run,
        feed: Feed,
        evaluations: Mapping[str, Evaluation],
        checkpoints: Checkpoints,
        progress: Progress,
        started: float,
    ) -> None:
        """Stand at the start; ``started`` is when the person began to wait."""
        self._experiment, self._run = experiment, run
        self._feed, self._evaluations = feed, evaluations
        self._checkpoints, self._progress = checkpoints, progress
        self._steps_per_epoch = feed.step.steps_per_epoch
        self._steps = experiment.training.epochs * self._steps_per_epoch
        self._pacer = Pacer(experiment.training.steps_per_dispatch)
        self._started, self._saved = started, started
        self._spent = {"seconds": 0.0, "compile_seconds": 0.0, "sessions": 0}
        self._stopped: str | None = None
        self.step = 0

    def start(self, weights: Weights | None = None, *, examples: int) -> None:
        """Compile, and take the state from the newest checkpoint, or make it of ``weights``."""
        like = checkpointed(self._feed.step)
        latest = self._checkpoints.latest_step()
        if latest is not None:
            tree = checked(self._checkpoints.restore(like), like, self._run.checkpoints_folder)
            self._state, self._totals = tree["state"], tree["totals"]
            self._spent |= self._checkpoints.record()
            self.step = latest
        rows = self._run.rewind_metrics(self.step)
        self._evaluated = {row["split"]: row for row in rows}
        self._early = EarlyStop(self._experiment, self._run, next(iter(self._evaluations)), rows)
        self._progress.begin(
            self._experiment,
            step=self.step,
            steps=self._steps,
            steps_per_epoch=self._steps_per_epoch,
        )
        for remark in remarks(self._experiment, examples, self._steps_per_epoch):
            self._progress.remark(remark)
        if self.step < self._steps:
            before = perf_counter()
            self._feed.compile(like["state"], like["totals"])
            for evaluation in self._evaluations.values():
                evaluation.compile(like["state"])
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

    def run_to_end(self, records: Records, interruption: Interruption) -> None:
        """Train the epochs that are left; evaluate and save where the experiment says."""
        every = self._experiment.training.evaluate_every_epochs
        self._stopped = "early_stopping" if self._early.is_over else None
        while self.step < self._steps and not self._stopped:
            self._train_epoch(interruption)
            epoch = self.step // self._steps_per_epoch
            if epoch % every == 0 or self.step == self._steps or self._stopped:
                self._evaluate(epoch, records)
            if self.step < self._steps and not self._stopped:
                self._check(interruption)
        self._save()
        self._checkpoints.wait()

    def _train_epoch(self, interruption: Interruption) -> None:
        """Dispatch to the end of the epoch, each time waiting for the dispatch before the last."""
        end = (self.step // self._steps_per_epoch + 1) * self._steps_per_epoch
        underway: tuple[int, int, Totals] | None = None
        self._waited = perf_counter()
        while self.step < end and not self._stopped:
            count = self._pacer.next(end - self.step)
            self._state, self._totals = self._feed.advance(
                self._state, self._totals, self.step, count
            )
            self.step += count
            self._wait(underway)
            underway = self.step, count, self._totals
            if self._seconds() > (self._experiment.training.max_seconds or math.inf):
                self._stopped = "max_seconds"
            elif self.step < end:
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

    def _evaluate(self, epoch: int, records: Records) -> None:
        """Measure; the training row is the mean of the steps since the last time."""
        means: dict[str, dict[str, Any]] = {"train": self._totals.means()}
        means |= {split: self._measure(split) for split in self._evaluations}
        self._totals = Totals.zero()
        seconds = round(self._seconds(), 3)
        rows = [
            {"step": self.step, "epoch": epoch, "split": split, **_json(values), "seconds": seconds}
            for split, values in means.items()
        ]
        self._evaluated = {row["split"]: row for row in rows}
        self._run.append_metrics(rows)
        records.write(self.step, means, self._state)
        self._progress.evaluated(epoch, self.step, means["test"], means["train"], seconds)
        if self._early.sees(self._evaluated, self._state):
            self._stopped = "early_stopping"
        if perf_counter() - self._saved >= CHECKPOINT_SECONDS:
            self._save()

    def _measure(self, split: str) -> dict[str, Any]:
        evaluation, names = self._evaluations[split], self._experiment.training.metrics
        means: dict[str, Any] = dict(evaluation(self._state))
        if names:
            outputs = evaluation.outputs(self._state)
            classes = self._experiment.data.class_names
            means |= classification_metrics(*outputs, classes, names)
        return means

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
        kept = ("loss", "accuracy", *experiment.training.metrics)
        means = {
            split: {name: row[name] for name in kept if name in row}
            for split, row in self._early.result(self._evaluated).items()
        }
        return {
            "name": experiment.name,
            **means,
            "seconds": round(self._seconds(), 3),
            "compile_seconds": round(self._spent["compile_seconds"], 3),
            "sessions": self._spent["sessions"],
            "epochs": experiment.training.epochs,
            "steps": self.step,
            "stopped_by": self._stopped,
            "best_step": self._early.best_step,
            "batch_size": experiment.training.batch_size,
            "parameters": experiment.model.cost(experiment.input_shape).parameters,
            "seed": experiment.seed,
            "precision": experiment.training.precision,
            "versions": environment.versions(),
            "hardware": environment.hardware(),
        }


def _json(means: Mapping[str, Any]) -> dict[str, Any]:
    """Write null for a loss that is infinite or not a number: JSON cannot hold these."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in means.items()
    }
