"""Where a result was computed: versions and hardware."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import jax

import jcnn

_PACKAGES = ("jax", "jaxlib", "optax", "numpy")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that shape a result."""
    packages = {name: metadata.version(name) for name in _PACKAGES}
    return {"jcnn": jcnn.__version__, "python": platform.python_version(), **packages}


def hardware() -> dict[str, str | int]:
    """Return what JAX computes on, and the processor."""
    devices = jax.devices()
    return {
        "platform": devices[0].platform,
        "device": devices[0].device_kind,
        "devices": len(devices),
        "processor": _processor(),
        "cores": _cores(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
