"""The training of one experiment into one run's folder."""

from __future__ import annotations

from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from time import perf_counter
from types import ModuleType

from jcnn import ops as explicit_ops
from jcnn.config import Experiment
from jcnn.data import Dataset, StreamingDataset
from jcnn.runs.resumption import Changes, check_continues, check_unused
from jcnn.runs.run import Run
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
from jcnn.training.memory import check_fits
from jcnn.training.progress import Progress
from jcnn.training.records import Records
from jcnn.training.sharing import Shared
from jcnn.training.summary import Summary
from jcnn.training.trainer import Trainer
from jcnn.training.weight_files import initial_weights


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

    Raises:
        UserError: Data are missing or damaged, or ``out`` can't be used.
        Interrupted: On SIGINT, SIGTERM or SIGHUP, after a checkpoint was written.
        NonFiniteError: A loss or a gradient was infinite or not a number.
    """
    started = perf_counter()
    run, experiment = Run(Path(out)), experiment.resolved()
    shared = shared or Shared()
    with ExitStack() as stack:
        changes: Changes = {}
        weights = None
        if resume:
            changes = _continue(run, experiment, stack)
        else:
            check_unused(run, experiment)
            check_fits(experiment)
            weights = initial_weights(experiment)  # a file that doesn't fit leaves no run behind
        opened = shared.opened(experiment, open_data)
        stack.callback(close_data, opened)
        feed, measures = prepare(experiment, ops, opened, shared)
        if resume:
            check_identity(run, identity(opened))
        else:
            _create(run, experiment, stack)
            write_identity(run, identity(opened))
        from jcnn.runs.checkpoints import Checkpoints

        checkpoints = stack.enter_context(Checkpoints(run.checkpoints_folder))
        interruption = interruption or stack.enter_context(Interruption())
        progress = progress or Progress()
        stack.callback(progress.end)
        trainer = Trainer(experiment, run, feed, measures, checkpoints, progress, started, shared)
        trainer.restore(changes)
        trainer.start(weights, examples=train_count(opened))
        records = Records(experiment, run, feed, from_step=trainer.unmeasured)
        trainer.run_to_end(stack.enter_context(records), interruption)
        return trainer.end()


def _continue(run: Run, experiment: Experiment, stack: ExitStack) -> Changes:
    from jcnn.runs.lock import locked

    run = Run.open(run.folder)
    stack.enter_context(locked(run))
    return check_continues(run, experiment)


def _create(run: Run, experiment: Experiment, stack: ExitStack) -> None:
    from jcnn.runs.lock import locked

    stack.enter_context(locked(run))
    run.create(experiment)


def prepare(
    experiment: Experiment,
    ops: ModuleType = explicit_ops,
    opened: Dataset | StreamingDataset | None = None,
    shared: Shared | None = None,
) -> tuple[Feed, dict[str, Evaluation]]:
    """Build, without compiling it, what trains and what measures each split.

    Args:
        experiment: What is to be trained.
        ops: See :func:`train`.
        opened: Its data; opened here where not given.
        shared: See :func:`train`.
    """
    opened = opened or open_data(experiment)
    measures = evaluations(experiment, opened, ops, shared)
    if isinstance(opened, Dataset):
        return DeviceFeed(experiment, opened.train, ops, shared), measures
    return StreamFeed(experiment, opened, ops, shared), measures
