"""How long an optimizer's schedules last, to be held against how long training does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jcnn.optimizers.arguments import SCALES, resolve
from jcnn.optimizers.transformation import Optimizer

# The keys whose sum says when a schedule has reached its last value.
_ENDS = {
    "cosine_decay_schedule": ("decay_steps",),
    "warmup_cosine_decay_schedule": ("decay_steps",),
    "linear_onecycle_schedule": ("transition_steps",),
    "cosine_onecycle_schedule": ("transition_steps",),
    "linear_schedule": ("transition_begin", "transition_steps"),
    "polynomial_schedule": ("transition_begin", "transition_steps"),
}


def schedule_ends(optimizer: Optimizer, steps_per_epoch: float) -> Iterator[tuple[str, int, bool]]:
    """Yield, for each schedule: its key, its last step, and whether it falls until then.

    Schedules that go on for ever are passed over; of those with boundaries the last boundary
    counts, after which their last part may well go on.

    >>> rate = {"schedule": "cosine_decay_schedule", "init_value": 1.0, "decay_steps": "2 epochs"}
    >>> list(schedule_ends(Optimizer(name="sgd", learning_rate=rate), 30))
    [('optimizer.learning_rate', 60, True)]
    """
    for key, value in optimizer.arguments.items():
        if isinstance(value, Mapping) and "schedule" in value:
            yield from _ends(f"optimizer.{key}", value, steps_per_epoch)


def _ends(key: str, table: Mapping[str, Any], per_epoch: float) -> Iterator[tuple[str, int, bool]]:
    name = table["schedule"]
    if name in _ENDS:
        steps = [resolve(part, table.get(part, 0), per_epoch) for part in _ENDS[name]]
        rises = table.get("end_value", 0) > table.get("init_value", 0) and "linear" in name
        yield key, int(sum(steps)), not rises
    elif name == "join_schedules" and table["boundaries"]:
        yield key, int(max(resolve("boundaries", table["boundaries"], per_epoch))), False
    elif table.get(SCALES):
        yield key, int(max(resolve(SCALES, table[SCALES], per_epoch))), False
