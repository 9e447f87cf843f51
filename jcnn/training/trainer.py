"""A run under way: where it stands, and what takes it further."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from functools import partial
from time import perf_counter
from typing import Any

from jcnn.config import Experiment
from jcnn.errors import UserError
from jcnn.runs.resumption import Changes
from jcnn.runs.run import Run
from jcnn.training.calibration import calibrated
from jcnn.training.evaluation import Evaluation, all_metrics
from jcnn.training.failure import MEASURED, NonFiniteError, keep_failure
from jcnn.training.feeds import Feed, StreamFeed
from jcnn.training.interruption import Interrupted, Interruption
from jcnn.training.pacing import Pacer
from jcnn.training.processes import Alone
from jcnn.training.progress import Progress
from jcnn.training.records import Records
from jcnn.training.remarks import remarks
from jcnn.training.saving import Saver, Stand
from jcnn.training.sharing import Shared, drawn_weights
from jcnn.training.state import Totals, Weights
from jcnn.training.step import checkpointed
from jcnn.training.stopping import Judge, keeps_best
from jcnn.training.summary import Summary, summarized
from jcnn.training.weight_files import initial_weights


class Trainer:
    """A run under way."""

    def __init__(
        self,
        experiment: Experiment,
        run: Run,
        feed: Feed,
        evaluations: Mapping[str, Evaluation],
        saver: Saver,
        progress: Progress,
        processes: Alone,
        shared: Shared,
    ) -> None:
        """Stand at the start."""
        self._shared = shared
        self._experiment, self._run = experiment, run
        self._feed, self._evaluations = feed, evaluations
        self._progress, self._processes = progress, processes
        self._steps_per_epoch = feed.step.steps_per_epoch
        self._steps = experiment.training.epochs * self._steps_per_epoch
        if self._steps >= 2**31:  # they are counted in 32 bits
            raise UserError(
                f"training.epochs is {experiment.training.epochs}, which are {self._steps} steps; "
                f"expected fewer than {2**31}"
            )
        # The examples of a stream are read one step at a time: a signal waits for no more.
        steps = 1 if isinstance(feed, StreamFeed) else experiment.training.steps_per_dispatch
        self._pacer = Pacer(steps)
        self._saver = saver
        self._stand: Stand | None = None
        self._judge: Judge | None = None
        self._stopped: str | None = None

    def restore(self, changes: Changes) -> None:
        """Take the state from the newest checkpoint; write down with what the run goes on.

        Raises:
            UserError: The run stands further than the experiment goes, or has ended and lost its
                checkpoints.
            Elsewhere: The same, in another process.
        """
        self._stand = self._saver.restore(checkpointed(self._feed.step))
        self._processes.everyone(partial(self._go_on, changes))

    def _go_on(self, changes: Changes) -> None:
        if self._stand is None and self._run.summary_file.exists():
            raise UserError(
                f"run '{self._run.folder}' has ended, and no undamaged checkpoint is left to go on "
                f"from: expected one in '{self._run.checkpoints_folder}'"
            )
        step = self._stand.step if self._stand else 0
        if step > self._steps:
            raise UserError(
                f"--resume: training.epochs = {self._experiment.training.epochs} ends at step "
                f"{self._steps}, and '{self._run.folder}' stands at step {step}: expected at least "
                f"{-(-step // self._steps_per_epoch)}"
            )
        if changes or step < self._steps:
            self._run.change(self._experiment, changes, str(step))
        rows = self._stand.rows if self._stand else ()
        self._run.rewrite_metrics(rows)
        if rule := self._experiment.training.early_stopping:
            self._judge = Judge(rule, next(iter(self._evaluations)), rows)
        limit = self._experiment.training.max_seconds
        if self._judge and self._judge.is_over:
            self._stopped = "early_stopping"
        elif step and limit is not None and self._saver.spent["seconds"] > limit:
            self._stopped = "max_seconds"

    def start(self, weights: Weights | None = None, *, examples: int) -> None:
        """Compile, and make the state of ``weights`` where there is none."""
        like = checkpointed(self._feed.step)
        step = self._stand.step if self._stand else 0
        self._progress.begin(
            self._experiment,
            step=step,
            steps=self._steps,
            steps_per_epoch=self._steps_per_epoch,
        )
        for remark in remarks(self._experiment, examples, self._steps_per_epoch):
            self._progress.remark(remark)
        if step < self._steps or self._is_evaluation_due():
            before = perf_counter()
            self._feed.compile(like["state"], like["totals"])
            for evaluation in self._evaluations.values():
                evaluation.compile(like["state"])
            if self._stand is None:
                self._stand = self._first(weights)
            seconds = perf_counter() - before
            self._saver.spent["compile_seconds"] += seconds
            self._progress.compiled(seconds)
        self._saver.spent["sessions"] += 1

    def _first(self, weights: Weights | None) -> Stand:
        weights = weights or initial_weights(self._experiment)
        weights = calibrated(self._experiment, self._feed, weights)
        weights = weights or drawn_weights(self._experiment, self._shared)
        layout, init = self._feed.step.layout, self._feed.step.init
        placed = layout.results(checkpointed(self._feed.step)["state"])
        begin = self._shared.program("begin", self._experiment, lambda: init, **placed)
        return Stand(0, begin.call(layout.on_host(weights)), Totals.zero())

    @property
    def _at(self) -> Stand:
        assert self._stand is not None
        return self._stand

    @property
    def unmeasured(self) -> int:
        """The first step of which no row of metrics is kept; 0 where there is none at all."""
        return self._at.measured + 1 if self._at.measured else 0

    def run_to_end(self, records: Records, interruption: Interruption) -> None:
        """Train the epochs that are left; evaluate and save where the experiment says."""
        interruption.rescue = self._rescue
        while True:
            if self._is_evaluation_due():
                self._evaluate(records)
            if self._at.step == self._steps or self._stopped:
                break
            self._train_epoch(interruption)
        self._saver.save(self._at)
        self._saver.wait()

    def _rescue(self) -> int:
        """Save from another thread, for a training that doesn't come to a safe point."""
        at = self._at
        if self._experiment.training.on_nonfinite == "stop" and at.totals.skipped.item():
            raise RuntimeError("what there is to save is not finite")
        return self._saver.rescue(at)

    def _is_evaluation_due(self) -> bool:
        step = self._stand.step if self._stand else 0
        epoch, rest = divmod(step, self._steps_per_epoch)
        if not step or step == self._at.measured:
            return False
        if self._stopped or rest:
            return self._stopped is not None
        every = self._experiment.training.evaluate_every_epochs
        return epoch % every == 0 or step == self._steps

    def _train_epoch(self, interruption: Interruption) -> None:
        """Dispatch to the end of the epoch, each time waiting for the dispatch before the last."""
        end = (self._at.step // self._steps_per_epoch + 1) * self._steps_per_epoch
        underway: tuple[int, int, Totals] | None = None
        self._waited = perf_counter()
        while self._at.step < end and not self._stopped:
            self._pause(interruption)
            at = self._at
            count = self._processes.agree(self._pacer.next(end - at.step))
            state, totals = self._feed.advance(at.state, at.totals, at.step, count)
            self._stand = at._replace(step=at.step + count, state=state, totals=totals)
            self._wait(underway)
            underway = at.step + count, count, totals
            if self._is_out_of_time():
                self._stopped = "max_seconds"
        self._wait(underway)

    def _is_out_of_time(self) -> bool:
        limit = self._experiment.training.max_seconds
        return limit is not None and self._processes.agree(self._saver.seconds() > limit)

    def _wait(self, underway: tuple[int, int, Totals] | None) -> None:
        """Read the metrics of a dispatch, which waits for it, and show them."""
        if underway is None:
            return
        step, count, totals = underway
        self._check_sound(totals)
        means = totals.means()
        now = perf_counter()
        seconds, self._waited = now - self._waited, now
        self._pacer.took(count, seconds)
        images = count * self._experiment.training.batch_size
        self._progress.stepped(step, means, images / max(seconds, 1e-9))

    def _check_sound(self, totals: Totals) -> None:
        """Stop where a step was not finite; waits for the steps that ``totals`` is of."""
        if self._experiment.training.on_nonfinite == "stop" and totals.skipped.item():
            raise self._failed(self._retraced())

    def _failed(self, at: Stand, found: tuple[str, float] | None = None) -> NonFiniteError:
        return keep_failure(self._run, self._experiment, self._feed, at.state, found)

    def _retraced(self) -> Stand:
        """Return the state before the step that fails.

        A guarded step has left it as it was, and so have those after it. Else train once more from
        the newest checkpoint, looking at each step: the same steps give the same bits, so well that
        nothing need be looked at until one fails.
        """
        if self._feed.step.guarded:
            return self._at
        self._saver.wait()
        like = checkpointed(self._feed.step)
        at = self._saver.restore(like) if self._saver.is_seen_by_all() else None
        at = at or self._first(None)
        feed = self._feed.guarded()
        while at.step < self._at.step and not at.totals.skipped.item():
            left = min(self._at.step - at.step, -at.step % self._steps_per_epoch)
            count = left or min(self._at.step - at.step, self._steps_per_epoch)
            state, totals = feed.advance(at.state, at.totals, at.step, count)
            at = at._replace(step=at.step + count, state=state, totals=totals)
        return at

    def _pause(self, interruption: Interruption) -> None:
        """Save where it is time to, or where a signal asks for it; then grant that."""
        number = self._processes.any_signal(interruption.signal_number)
        if number is None and not self._processes.agree(self._saver.is_due()):
            return
        self._check_sound(self._at.totals)
        if number is None:
            return self._saver.save(self._at)
        with interruption.saving:
            self._saver.save(self._at)
            self._saver.wait()
            raise Interrupted(self._at.step, number)

    def _evaluate(self, records: Records) -> None:
        """Measure; the training row is the mean of the steps since the last time."""
        if self._processes.agree(self._saver.is_due(before_evaluation=True)):
            self._saver.save(self._at)
        at, epoch = self._at, self._at.step // self._steps_per_epoch
        means: dict[str, dict[str, Any]] = {"train": dict(at.totals.means())}
        if (waiting := self._feed.waiting()) is not None:
            means["train"]["waiting"] = round(waiting, 4)
        means |= {split: self._measure(split) for split in self._evaluations}
        self._check_finite(means, at)
        if self._experiment.training.on_nonfinite == "skip":
            means["train"]["skipped"] = at.totals.skipped.item()
        seconds = round(self._saver.seconds(), 3)
        rows = [
            {"step": at.step, "epoch": epoch, "split": split, **values, "seconds": seconds}
            for split, values in means.items()
        ]
        self._run.append_metrics(rows)
        self._stand = self._judged(at, rows)
        records.write(at.step, means, at.state)
        self._progress.evaluated(epoch, at.step, means, seconds)
        self._feed.waiting()  # what measuring takes is no training
        if self._stand.best == str(self._stand.place):
            self._saver.save(self._stand)

    def _measure(self, split: str) -> dict[str, Any]:
        is_last = self._at.step == self._steps or self._stopped
        limit = None if is_last else self._experiment.training.evaluate_max_seconds
        how = limit or math.inf, self._processes.clock
        return all_metrics(self._evaluations[split], self._experiment, self._at.state, *how)

    def _judged(self, at: Stand, rows: list[dict[str, Any]]) -> Stand:
        """Return where the run stands after an evaluation; see whether training is to end."""
        judges_best = keeps_best(self._experiment)
        keep_best = self._experiment.training.keep_best and not judges_best
        stand = at.evaluated(rows, keep_best=keep_best)
        if self._judge is None:
            return stand
        watched = next(row for row in rows if row["split"] == self._judge.split)
        if self._judge.improved(watched) and judges_best:
            stand = stand._replace(best=str(stand.place))
        if self._judge.is_over:
            self._stopped = "early_stopping"
        return stand

    def _check_finite(self, means: dict[str, dict[str, Any]], at: Stand) -> None:
        """Stop where no step could be taken, or where a measured loss is no number."""
        skipped = at.totals.skipped.item()
        if not at.totals.examples.item():
            raise self._failed(at)
        for split in MEASURED:
            if split in means and not math.isfinite(loss := means[split]["loss"]):
                raise self._failed(at, (MEASURED[split], loss))
        if skipped:
            logging.getLogger("jcnn").warning(
                "%d steps before step %d were skipped: their loss or gradients are not finite",
                skipped,
                at.step,
            )

    def end(self) -> Summary:
        """Write ``summary.json``, and return what it holds."""
        spent = {**self._saver.spent, "seconds": self._saver.seconds()}
        how = {
            "stopped_by": self._stopped if self._at.step < self._steps else None,
            "best_step": self._judge.best_step if self._judge else None,
        }
        summary = summarized(self._experiment, self._at, spent, **how)
        self._run.write_summary(summary)
        return summary
