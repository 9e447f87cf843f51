"""Where a result was computed: versions and hardware."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

import jax

import jcnn
from jcnn import processor
from jcnn.lowering import native

_PACKAGES = ("jax", "jaxlib", "optax", "numpy")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that shape a result."""
    packages = {name: metadata.version(name) for name in _PACKAGES}
    return {"jcnn": jcnn.__version__, "python": platform.python_version(), **packages}


def hardware() -> dict[str, str | int]:
    """Return what JAX computes on, the processor, and whether compiled loops are used."""
    devices = jax.devices()
    return {
        "platform": devices[0].platform,
        "device": devices[0].device_kind,
        "devices": len(devices),
        "processor": processor.name(),
        "instructions": processor.instructions(),
        "cores": processor.cores(),
        "native": native.ready(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def described(hardware: dict[str, Any], versions: dict[str, str]) -> str:
    """Return both as they stand under a table: the processor, what JAX computes on, packages."""
    machine = f"{hardware['processor']} ({hardware['instructions']}), {hardware['device']}"
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{machine}; {packages}"
