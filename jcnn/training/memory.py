"""What a model needs at least, said before anything is allocated."""

from __future__ import annotations

import os
from math import prod
from pathlib import Path

import jax
import jax.numpy as jnp

from jcnn.config import Experiment
from jcnn.errors import UserError
from jcnn.training.layout import SINGLE, Layout

_SPLIT = ("columns", "rows")  # of a pair of dense layers; what is between has no parameters
_CGROUP = Path("/sys/fs/cgroup/memory.max")


def check_fits(experiment: Experiment, layout: Layout = SINGLE) -> None:
    """Refuse a model that can't fit in the memory there is.

    Args:
        experiment: Whose model it is.
        layout: Its devices: each needs memory for its own share of a batch, and of the dense layers
            that are split.

    Raises:
        UserError: Names the layer that needs most, what it needs, and what there is.
    """
    available = memory_bytes()
    needs = _needs(experiment, layout)
    total = sum(weights for weights, _ in needs.values()) + max(y for _, y in needs.values())
    if available is not None and total > available:
        name = max(needs, key=lambda layer: sum(needs[layer]))
        has = "there are" if layout.mesh is None or _together(layout) > 1 else "each device has"
        position = experiment.model.names.index(name)
        raise UserError(
            f"layers.{position} ('{name}', {experiment.layers[position].type}) needs at least "
            f"{_written(sum(needs[name]))} of memory, the model {_written(total)}, and {has} "
            f"{_written(available)}: expected a smaller window, fewer features, or a smaller "
            "training.batch_size"
        )


def _needs(experiment: Experiment, layout: Layout) -> dict[str, tuple[int, int]]:
    """Return for each layer the bytes of its parameters and gradients, and of a batch's output."""
    training, shards = experiment.training, layout.shards
    size = training.batch_size * jnp.dtype(training.precision).itemsize
    pairs, together = dict(shards.parts), _together(layout)

    def held(count: int, parts: int) -> int:
        return count * min(together, parts) // parts

    needs = {}
    for name, layer, before, after in experiment.model.walk(experiment.input_shape):
        halves = layout.mesh.shape["model"] if layout.mesh and pairs.get(name) in _SPLIT else 1
        parts = layout.parts * (layout.copies if name in shards.split else 1)
        parameters = 2 * 4 * layer.cost(before).parameters
        needs[name] = held(parameters, halves), held(prod(after) * size, parts)
    return needs


def _together(layout: Layout) -> int:
    """Return how many of the devices share one memory, as those do that are a machine's CPU."""
    if layout.mesh is None:
        return 1
    own = [d for d in layout.mesh.devices.flat if d.process_index == jax.process_index()]
    return len(own) if own and own[0].platform == "cpu" else 1


def memory_bytes() -> int | None:
    """Return the memory of the device, or of the machine where that is a CPU; None if unknown."""
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("bytes_limit")
    try:
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        return min(machine, int(_CGROUP.read_text()))
    except (OSError, ValueError):  # "max", or no such group
        return machine


def _written(count: float) -> str:
    """Write a number of bytes.

    >>> _written(2.048e15), _written(512)
    ('2.0 PB', '512 B')
    """
    for unit in ("B", "KB", "MB", "GB", "TB", "PB"):
        if count < 1000 or unit == "PB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
