"""A run's folder: what it holds, and that it is whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jcnn.config import Experiment, load_experiment
from jcnn.errors import UserError
from jcnn.folders import EXPERIMENT, RUNS
from jcnn.runs.files import append_lines, write_text, writing

RUNS_FOLDER = Path(RUNS)


@dataclass(frozen=True)
class Run:
    """The folder of one training run.

    ``experiment.toml`` is written first, so a folder that has it holds a run.
    """

    folder: Path

    @property
    def experiment_file(self) -> Path:
        """The resolved experiment."""
        return self.folder / EXPERIMENT

    @property
    def data_file(self) -> Path:
        """The classes, their counts, and a fingerprint of the data that the run learns from."""
        return self.folder / "data.json"

    @property
    def metrics_file(self) -> Path:
        """One JSON object per line: one for each evaluation and split."""
        return self.folder / "metrics.jsonl"

    @property
    def summary_file(self) -> Path:
        """What came out; written when training has ended."""
        return self.folder / "summary.json"

    @property
    def checkpoints_folder(self) -> Path:
        """The checkpoints, each named after the steps done."""
        return self.folder / "checkpoints"

    @property
    def events_folder(self) -> Path:
        """TensorBoard's event files."""
        return self.folder / "events"

    @property
    def history_file(self) -> Path:
        """One JSON object per line: one for each change of the experiment by a resumption."""
        return self.folder / "history.jsonl"

    @property
    def failure_folder(self) -> Path:
        """State and batch of the step that gave what is not finite, in the form of a checkpoint."""
        return self.folder / "failure"

    def check_unused(self) -> None:
        """Refuse a folder that holds a run that has learned, or what another run has left.

        Raises:
            UserError: It does.
        """
        if self.exists():
            if not self.has_learned():
                return
            raise UserError(
                f"folder '{self.folder}' already holds a run; give another folder (--out), "
                "or --resume to continue that run"
            )
        for left in (self.checkpoints_folder, self.metrics_file, self.summary_file):
            if left.exists():
                raise UserError(
                    f"folder '{self.folder}' has no experiment.toml, but holds {left.name} of some "
                    "other run; give another folder (--out)"
                )

    def create(self, experiment: Experiment) -> None:
        """Make the folder of a new run.

        Raises:
            UserError: The folder holds a run already, or can't be written.
        """
        self.check_unused()
        with writing(f"output folder '{self.folder}'"):
            self.folder.mkdir(parents=True, exist_ok=True)
            for stale in (self.data_file, self.history_file):  # of one that never took a step
                stale.unlink(missing_ok=True)
            write_text(self.experiment_file, experiment.to_toml())

    def change(self, experiment: Experiment, changes: Mapping[str, Any], place: str) -> None:
        """Write down with what experiment the run goes on; it has not ended then.

        Args:
            experiment: The new one.
            changes: Of each key that has changed, the value before and the value now.
            place: Where the run stands.
        """
        with writing(f"run folder '{self.folder}'"):
            if changes:
                row = {"time": _now(), "from": place, "changes": changes}
                append_lines(self.history_file, [row])
                write_text(self.experiment_file, experiment.to_toml())
            self.summary_file.unlink(missing_ok=True)

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Return the run in a folder.

        Raises:
            UserError: There is none.
        """
        run = cls(folder)
        if not folder.exists():
            raise UserError(f"run folder '{folder}' does not exist")
        if not folder.is_dir():
            raise UserError(f"'{folder}' is a file; expected the folder of a run")
        if not run.exists():
            raise UserError(f"folder '{folder}' holds no run: it has no experiment.toml")
        return run

    def exists(self) -> bool:
        """Whether the folder holds a run."""
        try:
            return self.experiment_file.exists()
        except OSError:
            return False

    def has_learned(self) -> bool:
        """Whether anything is left of its steps; of a run that stopped before the first, nothing.

        A damaged checkpoint counts, and so does the state of a step that failed.
        """
        folder = self.checkpoints_folder
        if folder.is_dir() and any(entry.name[0] != "." for entry in folder.iterdir()):
            return True
        if self.summary_file.exists() or self.failure_folder.exists():
            return True
        return self.metrics_file.exists() and self.metrics_file.stat().st_size > 0

    def experiment(self, overrides: Mapping[str, object] | None = None) -> Experiment:
        """Read the resolved experiment, with other values for some keys of ``[data]``.

        Raises:
            UserError: Another key is to be changed: the network is that of the run.
        """
        for key in overrides or {}:
            if not key.startswith("data."):
                raise UserError(f"--set {key}: of a run's folder, only keys of data can be changed")
        return load_experiment(self.experiment_file, overrides)

    def summary(self) -> dict[str, Any]:
        """Read what came out.

        Raises:
            UserError: The run has not ended, or the file is damaged.
        """
        if not self.summary_file.exists():
            raise UserError(f"run '{self.folder}' has no summary.json: its training has not ended")
        try:
            summary = json.loads(self.summary_file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"'{self.summary_file}' is damaged: {error}") from error
        if not _is_summary(summary):
            raise UserError(
                f"'{self.summary_file}' is damaged: expected what came out of a training, with "
                "'test' and 'seconds'"
            )
        return summary

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write what came out."""
        with writing(f"'{self.summary_file}'"):
            write_text(self.summary_file, json.dumps(summary, indent=2) + "\n")

    def append_metrics(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows to the metrics, and wait until they are on the disk."""
        with writing(f"'{self.metrics_file}'"):
            append_lines(self.metrics_file, rows)

    def metrics(self) -> list[dict[str, Any]]:
        """Read the rows; a last line that was cut short by a crash is left out."""
        if not self.metrics_file.exists():
            return []
        lines = self.metrics_file.read_bytes().splitlines()
        rows = []
        for number, line in enumerate(lines, start=1):
            try:
                row, whole = json.loads(line), True  # of bytes that are no UTF-8, a ValueError
            except (ValueError, RecursionError):
                row, whole = None, False
            if whole and _is_row(row):
                rows.append(row)
            elif whole or number < len(lines):
                raise UserError(f"'{self.metrics_file}' line {number} is damaged")
        return rows

    def rewrite_metrics(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Let the metrics be those that a checkpoint has, whatever the file holds."""
        with writing(f"'{self.metrics_file}'"):
            write_text(self.metrics_file, "".join(json.dumps(row) + "\n" for row in rows))


def _is_number(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds or (int, float)) and not isinstance(value, bool)


def _is_measured(value: object) -> bool:
    """Whether loss and accuracy are numbers, the latter a share; null where not finite."""
    if not isinstance(value, dict):
        return False
    loss, accuracy = value.get("loss"), value.get("accuracy")
    if not all(one is None or _is_number(one) for one in (loss, accuracy)):
        return False
    return accuracy is None or 0 <= accuracy <= 1


def _is_row(row: object) -> bool:
    """Whether a row of metrics says what was measured, and when."""
    if not (_is_measured(row) and isinstance(row, dict) and isinstance(row.get("split"), str)):
        return False
    return all(_is_number(row.get(key), int) for key in ("step", "epoch"))


def _is_summary(summary: object) -> bool:
    return (
        isinstance(summary, dict)
        and _is_measured(summary.get("test"))
        and _is_number(summary.get("seconds"))
    )


class WatchedRun(Run):
    """The folder of a run that another process writes; here it is only read."""

    def create(self, experiment: Experiment) -> None:
        """Leave it to the other process."""

    def change(self, experiment: Experiment, changes: Mapping[str, Any], place: str) -> None:
        """Leave it to the other process."""

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Leave it to the other process."""

    def append_metrics(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Leave it to the other process."""

    def rewrite_metrics(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Leave it to the other process."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def unused_folder(name: str, parent: Path = RUNS_FOLDER) -> Path:
    """Return the first of ``parent/name``, ``parent/name-2``, … that is not there."""
    folder, number = parent / name, 1
    while folder.exists():
        number += 1
        folder = parent / f"{name}-{number}"
    return folder
