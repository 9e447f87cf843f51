"""Experiment trackers that are told the metrics: one interface, an adapter for each."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol

from jcnn.config import Experiment, Tracking
from jcnn.errors import UserError
from jcnn.runs.run import Run


class Tracker(Protocol):
    """Is told the metrics of each evaluation, under names such as ``"test/loss"``."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keep the metrics of a step."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


def open_tracker(tracking: Tracking, experiment: Experiment, run: Run) -> Tracker:
    """Start the tracker that an experiment names.

    Raises:
        UserError: It is not installed.
    """
    return _ADAPTERS[tracking.to](tracker_library(tracking, run), tracking, experiment, run)


def tracker_library(tracking: Tracking, run: Run) -> Any:
    """Load the package of a tracker; asked for before a run begins, it leaves none without one.

    Raises:
        UserError: It is not installed.
    """
    try:
        return importlib.import_module(tracking.to)
    except ModuleNotFoundError as error:
        if error.name != tracking.to:
            raise
        resumed = f", and of {run.experiment_file} where that is resumed" if run.exists() else ""
        raise UserError(
            f"tracking.to is '{tracking.to}', which is not installed: pip install {tracking.to}, "
            f"or leave the table [tracking] out of the experiment's file{resumed}"
        ) from None


class _Trackio:
    """Trackio keeps its own database on this machine."""

    def __init__(self, library: Any, tracking: Tracking, experiment: Experiment, run: Run) -> None:
        self._library = library
        config = experiment.model_dump(mode="json")
        library.init(project=tracking.project, name=run.folder.name, config=config)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._library.log({"step": step, **values})

    def close(self) -> None:
        self._library.finish()


class _Mlflow:
    """MLflow keeps a database in the run's folder, unless MLFLOW_TRACKING_URI is to be used."""

    def __init__(self, library: Any, tracking: Tracking, experiment: Experiment, run: Run) -> None:
        self._library = library
        if not tracking.online:
            database = (run.folder / "mlflow.db").absolute()
            library.set_tracking_uri(f"sqlite:///{database}")
        library.set_experiment(tracking.project)
        library.start_run(run_name=run.folder.name)
        library.log_dict(experiment.model_dump(mode="json"), "experiment.json")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._library.log_metrics(dict(values), step=step)

    def close(self) -> None:
        self._library.end_run()


class _Wandb:
    """Weights & Biases keeps files in the run's folder, which `wandb sync` can send later."""

    def __init__(self, library: Any, tracking: Tracking, experiment: Experiment, run: Run) -> None:
        self._run = library.init(
            project=tracking.project,
            name=run.folder.name,
            config=experiment.model_dump(mode="json"),
            dir=str(run.folder),
            mode="online" if tracking.online else "offline",
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


_ADAPTERS = {"trackio": _Trackio, "mlflow": _Mlflow, "wandb": _Wandb}
