"""Where a result was computed: versions and hardware."""

from __future__ import annotations

import os
import platform
import re
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
        "instructions": _instructions(),
        "cores": _cores(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    return _cpu_information("model name") or platform.processor()


def _instructions() -> str:
    """Return the widest vector instructions that XLA may use."""
    flags = _cpu_information("flags").split()
    limit = re.search(r"--xla_cpu_max_isa=(\w+)", os.environ.get("XLA_FLAGS", ""))
    limited = limit is not None and "512" not in limit[1] and "AMX" not in limit[1].upper()
    if "avx512f" in flags and not limited:
        return "AVX-512"
    return "AVX2" if "avx2" in flags else platform.machine()


def _cpu_information(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")


def _cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
