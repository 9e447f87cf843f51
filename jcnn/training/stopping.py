"""When training ends before its last epoch: judged from the metrics' rows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

from jcnn.config import EarlyStopping, Experiment


def keeps_best(experiment: Experiment) -> bool:
    """Whether a run's result is the state of its best evaluation, and not the last one."""
    rule = experiment.training.early_stopping
    return rule is not None and rule.restore_best


class Judge:
    """Reads evaluations one by one: which was the best, and how many have passed since.

    What it knows follows from the rows, so that a resumed run stops where an uninterrupted one
    would have.

    >>> judge = Judge(EarlyStopping(metric="loss", patience=2), "test")
    >>> [judge.improved({"step": k, "loss": loss}) for k, loss in enumerate((3.0, 1.0, 2.0, 2.0))]
    [True, True, False, False]
    >>> judge.best_step, judge.is_over
    (1, True)
    """

    def __init__(self, rule: EarlyStopping, split: str, rows: Sequence[Mapping[str, Any]] = ()):
        """Read the rows that there are already."""
        self._rule, self.split = rule, split
        self._best: float | None = None
        self.best_step: int | None = None
        self._waited = 0
        for row in rows:
            if row["split"] == split:
                self.improved(row)

    def improved(self, row: Mapping[str, Any]) -> bool:
        """Read an evaluation; say whether it is the best so far. No number is never better."""
        value = row[self._rule.metric]
        if value is not None and not isnan(value) and self._is_better(value):
            self._best, self.best_step, self._waited = value, row["step"], 0
            return True
        self._waited += 1
        return False

    @property
    def is_over(self) -> bool:
        """Whether patience has come to its end."""
        return self._waited >= self._rule.patience

    def _is_better(self, value: float) -> bool:
        if self._best is None:
            return True
        gain = self._best - value if self._rule.metric == "loss" else value - self._best
        return gain > self._rule.min_delta
