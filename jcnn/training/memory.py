"""What a model needs at least, said before anything is allocated."""

from __future__ import annotations

import os
from math import prod
from pathlib import Path

import jax
import jax.numpy as jnp

from jcnn.config import Experiment
from jcnn.errors import UserError

_CGROUP = Path("/sys/fs/cgroup/memory.max")


def check_fits(experiment: Experiment) -> None:
    """Refuse a model that can't fit in the memory there is.

    Raises:
        UserError: Names the layer that needs most, what it needs, and what there is.
    """
    available = memory_bytes()
    needs = _needs(experiment)
    total = sum(weights for weights, _ in needs.values()) + max(y for _, y in needs.values())
    if available is not None and total > available:
        name = max(needs, key=lambda layer: sum(needs[layer]))
        position = experiment.model.names.index(name)
        raise UserError(
            f"layers.{position} ('{name}', {experiment.layers[position].type}) needs at least "
            f"{_written(sum(needs[name]))} of memory, the model {_written(total)}, and there are "
            f"{_written(available)}: expected a smaller window, fewer features, or a smaller "
            "training.batch_size"
        )


def _needs(experiment: Experiment) -> dict[str, tuple[int, int]]:
    """Return for each layer the bytes of its parameters and gradients, and of a batch's output."""
    training = experiment.training
    size = training.batch_size * jnp.dtype(training.precision).itemsize
    return {
        name: (2 * 4 * layer.cost(before).parameters, prod(after) * size)
        for name, layer, before, after in experiment.model.walk(experiment.input_shape)
    }


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
