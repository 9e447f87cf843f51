"""Devices to compile for that need not be there: slices of TPUs, and virtual CPU devices."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from math import prod
from typing import Any

import jax

from jcnn.errors import UserError
from jcnn.scaling.chips import Chip

# What libtpu would else ask a machine of the cloud for, which takes minutes elsewhere.
_ALONE = {
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # no chip is taken, that only one process may have
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


def has_tpu_compiler() -> bool:
    """Whether the compiler for TPUs is installed."""
    return importlib.util.find_spec("libtpu") is not None


def devices_for(chip: Chip, count: int) -> tuple[Sequence[Any], str]:
    """Return devices to compile for, and which compiler that is.

    Args:
        chip: What the program is to run on.
        count: How many of them.

    Returns:
        Abstract devices of the chip, and its platform, where its compiler is at hand; else virtual
        CPU devices, and "cpu".

    Raises:
        UserError: There is no such slice, or JAX has begun with fewer virtual devices.
    """
    islands, axes = chip.islands(count)
    if chip.platform == "tpu" and has_tpu_compiler():
        return _slices(chip, islands, axes), "tpu"
    return _virtual(count), "cpu"


def _slices(chip: Chip, islands: int, axes: tuple[int, ...]) -> Sequence[Any]:
    from jax.experimental import topologies

    for name, value in _ALONE.items():
        os.environ.setdefault(name, value)
    options: dict[str, Any] = {"num_slices": islands} if islands > 1 else {}
    if prod(axes) == 1:
        options["chips_per_host_bounds"] = (1, 1, 1)
    try:
        shape = "x".join(map(str, axes))
        named = topologies.get_topology_desc(f"{chip.name}:{shape}", platform="tpu", **options)
    except jax.errors.JaxRuntimeError as error:
        raise UserError(
            f"--chip {chip.name}: libtpu can't compile for {shape} chips ({error}); "
            "without libtpu, XLA's cost analysis on virtual CPU devices is taken"
        ) from None
    return named.devices


def _virtual(count: int) -> Sequence[Any]:
    provide_virtual(count)
    there = jax.devices("cpu")
    if len(there) < count:
        raise UserError(
            f"--devices {count}: expected as many virtual CPU devices, found {len(there)}: set "
            f"XLA_FLAGS=--xla_force_host_platform_device_count={count} before JAX begins"
        )
    return there[:count]


def provide_virtual(count: int) -> None:
    """Have JAX begin with at least so many CPU devices, unless it has begun."""
    if jax.config.jax_num_cpu_devices < count:  # pyright: ignore[reportAttributeAccessIssue]
        try:
            jax.config.update("jax_num_cpu_devices", count)
        except RuntimeError:  # it has begun: see who asks for devices
            return
