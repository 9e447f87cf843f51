"""The training of one experiment into one run's folder."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from os import PathLike
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import TYPE_CHECKING, Any

from jcnn import ops as explicit_ops
from jcnn.config import Experiment
from jcnn.data import Dataset, StreamingDataset
from jcnn.errors import UserError
from jcnn.lowering import this_machine
from jcnn.runs.resumption import Changes, check_continues, check_unused
from jcnn.runs.run import Run, WatchedRun
from jcnn.training.compilation import in_own_precision
from jcnn.training.evaluation import Evaluation, evaluations
from jcnn.training.feeds import DeviceFeed, Feed, StreamFeed
from jcnn.training.identity import (
    check_identity,
    close_data,
    identity,
    open_data,
    train_count,
    write_identity,
)
from jcnn.training.interruption import Interruption
from jcnn.training.layout import Layout
from jcnn.training.memory import check_fits
from jcnn.training.mesh import layout_of
from jcnn.training.processes import ALONE, Alone
from jcnn.training.progress import Progress
from jcnn.training.records import Records
from jcnn.training.saving import Saver
from jcnn.training.sharing import Shared
from jcnn.training.state import Weights
from jcnn.training.summary import Summary
from jcnn.training.trainer import Trainer
from jcnn.training.weight_files import initial_weights

if TYPE_CHECKING:
    from jcnn.runs.checkpoints import Checkpoints


@in_own_precision
def train(
    experiment: Experiment,
    out: str | PathLike[str],
    *,
    resume: bool = False,
    progress: Progress | None = None,
    ops: ModuleType = explicit_ops,
    interruption: Interruption | None = None,
    shared: Shared | None = None,
    processes: Alone = ALONE,
) -> Summary:
    """Train an experiment, write the run's folder, and return what ``summary.json`` holds.

    The same experiment gives the same bits on the same machine and versions, whether it runs in one
    go or is interrupted, killed and resumed.

    Args:
        experiment: What to train, and on what.
        out: The run's folder.
        resume: Continue the run in ``out`` from its newest undamaged checkpoint.
        progress: Told what happens.
        ops: :mod:`jcnn.ops`, or :mod:`jcnn.reference` to train through ``jax.grad`` alone.
        interruption: One that the caller has entered; else one is, while steps are taken.
        shared: Data and programs of trainings that differ in their seeds, if there are others.
        processes: Those that train together, each of which calls this; only the first one writes.

    Raises:
        UserError: Data are missing or damaged, or ``out`` can't be used.
        Interrupted: On SIGINT, SIGTERM or SIGHUP, after a checkpoint was written.
        NonFiniteError: A loss or a gradient was infinite or not a number.
        Elsewhere: Another process has a mistake to report.
    """
    started, experiment = perf_counter(), experiment.resolved()
    run = (Run if processes.writes else WatchedRun)(Path(out))
    shared = shared or Shared()
    with ExitStack() as stack:
        begin = partial(_begin, run, experiment, stack, processes.writes, resume=resume)
        layout, changes, weights = processes.everyone(begin)
        opened = processes.everyone(partial(shared.opened, experiment, open_data))
        stack.callback(close_data, opened)
        prepared = partial(prepare, experiment, ops, opened, shared, layout)
        feed, measures = processes.everyone(prepared)
        found = processes.everyone(partial(identity, opened))
        processes.check_same({"the data's fingerprint": found["fingerprint"]})
        processes.everyone(
            partial(_take, run, experiment, found, stack, processes.writes, resume=resume)
        )
        checkpoints = stack.enter_context(_checkpoints(run, layout, processes))
        interruption = interruption or stack.enter_context(Interruption())
        progress = progress or Progress()
        stack.callback(progress.end)
        every = experiment.training.checkpoint_every_seconds
        saver = Saver(checkpoints, every, started, layout, processes)
        told = saver, progress, processes, shared
        trainer = processes.everyone(partial(Trainer, experiment, run, feed, measures, *told))
        trainer.restore(changes)
        trainer.start(weights, examples=train_count(opened))
        records = Records(
            experiment, run, feed, from_step=trainer.unmeasured, writes=processes.writes
        )
        trainer.run_to_end(stack.enter_context(records), interruption)
        return trainer.end()


def _begin(
    run: Run, experiment: Experiment, stack: ExitStack, writes: bool, *, resume: bool
) -> tuple[Layout, Changes, Weights | None]:
    """See whether there is anything to train, before data are read; a mistake leaves no run."""
    from jcnn.runs.lock import locked
    from jcnn.runs.trackers import tracker_library

    if writes and experiment.tracking:
        tracker_library(experiment.tracking, run)
    layout = layout_of(experiment)
    if resume:
        Run.open(run.folder)
        if writes:
            stack.enter_context(locked(run))
        return layout, check_continues(run, experiment), None
    check_unused(run, experiment)
    this_machine()  # its table may be one that can't be read
    check_fits(experiment, layout)
    return layout, {}, initial_weights(experiment)


def _take(
    run: Run,
    experiment: Experiment,
    found: dict[str, Any],
    stack: ExitStack,
    writes: bool,
    *,
    resume: bool,
) -> None:
    """Make the run's folder, or see that the data are those that it learned from, if it did."""
    from jcnn.runs.lock import locked

    if resume and run.has_learned():
        check_identity(run, found)
        if run.data_file.exists():
            return
    if not writes:
        return
    if not resume:
        stack.enter_context(locked(run))
        run.create(experiment)
    write_identity(run, found)


def _checkpoints(run: Run, layout: Layout, processes: Alone) -> Checkpoints:
    """Open them, first in the process that may make their folder, and cleans it.

    Raises:
        UserError: The folder can't be made; or processes that must write into it don't see it.
        Elsewhere: The same, in another process.
    """
    from jcnn.runs.checkpoints import Checkpoints

    folder = run.checkpoints_folder

    def opened() -> Checkpoints:
        return Checkpoints(folder, read_only=not processes.writes, writers=processes)

    def opened_after() -> Checkpoints:
        if layout.is_spread and not folder.is_dir():
            raise UserError(
                f"'{folder}' does not exist here: expected a run's folder that all processes see, "
                "since each writes its own parts of the dense layers that mesh.model splits"
            )
        return opened()

    first = processes.everyone(lambda: opened() if processes.writes else None)
    return processes.everyone(lambda: first or opened_after())


def prepare(
    experiment: Experiment,
    ops: ModuleType = explicit_ops,
    opened: Dataset | StreamingDataset | None = None,
    shared: Shared | None = None,
    layout: Layout | None = None,
) -> tuple[Feed, dict[str, Evaluation]]:
    """Build, without compiling it, what trains and what measures each split.

    Args:
        experiment: What is to be trained.
        ops: See :func:`train`.
        opened: Its data; opened here where not given.
        shared: See :func:`train`.
        layout: On which devices; those that its mesh says where not given.
    """
    opened, layout = opened or open_data(experiment), layout or layout_of(experiment)
    measures = evaluations(experiment, opened, ops, shared, layout)
    if isinstance(opened, Dataset):
        return DeviceFeed(experiment, opened.train, ops, shared, layout), measures
    return StreamFeed(experiment, opened, ops, shared, layout), measures
