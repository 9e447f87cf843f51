"""Early stopping in a run: what its evaluations decide, and the state of the best one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jcnn.config import Experiment
from jcnn.runs.run import Run
from jcnn.training.state import TrainState
from jcnn.training.stopping import Judge

FOLDER = "best"
Rows = Mapping[str, Mapping[str, Any]]


def keeps_best(experiment: Experiment) -> bool:
    """Whether a run's result is the state of its best evaluation, and not the last one."""
    rule = experiment.training.early_stopping
    return rule is not None and rule.restore_best


class EarlyStop:
    """Is told of every evaluation; keeps the best state on the disk, in the run's folder ``best``.

    The run's checkpoints are not touched, so that it can be resumed as if nobody had judged.
    Without ``training.early_stopping`` it never ends anything and keeps nothing.
    """

    def __init__(
        self, experiment: Experiment, run: Run, split: str, rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Read the evaluations that there are already."""
        rule = experiment.training.early_stopping
        self._split, self._folder = split, run.folder / FOLDER
        self._judge = Judge(rule, split, rows) if rule else None
        self._keeps = keeps_best(experiment)
        best = [row for row in rows if row["step"] == self.best_step]
        self._best: Rows = {row["split"]: row for row in best}

    @property
    def best_step(self) -> int | None:
        """The step of the best evaluation; None where nobody judges."""
        return self._judge.best_step if self._judge else None

    @property
    def is_over(self) -> bool:
        """Whether training is to end."""
        return self._judge is not None and self._judge.is_over

    def sees(self, rows: Rows, state: TrainState) -> bool:
        """Read an evaluation of a state; say whether training is to end."""
        if self._judge is None:
            return False
        if self._judge.improved(rows[self._split]):
            self._best = rows
            if self._keeps:
                self._save(rows[self._split]["step"], state)
        return self._judge.is_over

    def result(self, last: Rows) -> Rows:
        """Return the evaluation of the state that is the run's result."""
        return self._best if self._keeps and self._best else last

    def _save(self, step: int, state: TrainState) -> None:
        from jcnn.runs.checkpoints import Checkpoints

        with Checkpoints(self._folder) as checkpoints:
            checkpoints.save(step, {"state": state}, {})
            checkpoints.wait()
