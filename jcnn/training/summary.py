"""What ``summary.json`` says of a run that has ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jcnn.config import Experiment
from jcnn.runs import environment
from jcnn.training.saving import Stand
from jcnn.training.stopping import keeps_best

Summary = dict[str, Any]


def summarized(
    experiment: Experiment,
    at: Stand,
    spent: Mapping[str, Any],
    *,
    stopped_by: str | None,
    best_step: int | None,
) -> Summary:
    """Return the figures of a run that stands ``at`` its end.

    Args:
        experiment: What was trained.
        at: Its end; the figures are those of ``best_step`` where the run ends with that state.
        spent: ``seconds``, ``compile_seconds`` and ``sessions``, all sessions together.
        stopped_by: What ended it before its last epoch, or None.
        best_step: The step of the best evaluation, where early stopping looks for it.
    """
    rows = at.rows
    if best_step and keeps_best(experiment):
        rows = [row for row in rows if row["step"] == best_step]
    kept = ("loss", "accuracy", *experiment.training.metrics)
    means = {
        split: {name: row[name] for name in kept if name in row}
        for split, row in {row["split"]: row for row in rows}.items()
    }
    return {
        "name": experiment.name,
        **means,
        "seconds": round(spent["seconds"], 3),
        "compile_seconds": round(spent["compile_seconds"], 3),
        "sessions": spent["sessions"],
        "epochs": experiment.training.epochs,
        "steps": at.step,
        "stopped_by": stopped_by,
        "best_step": best_step,
        "batch_size": experiment.training.batch_size,
        "parameters": experiment.model.cost(experiment.input_shape).parameters,
        "seed": experiment.seed,
        "precision": experiment.training.precision,
        "versions": environment.versions(),
        "hardware": environment.hardware(),
    }
