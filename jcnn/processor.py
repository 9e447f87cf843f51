"""The processor of this machine, as its system describes it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from functools import cache
from pathlib import Path

# What a cache is taken to be where the system does not say.
CACHE_BYTES = 32 << 20
# At most so much of it per core: a virtual machine with two cores names all 300 MB that the many
# cores of its processor share.
CACHE_PER_CORE = 32 << 20
_INFORMATION = Path("/proc/cpuinfo")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def name() -> str:
    """Return the processor's name, or the numbers that Linux has for ARM's instead of one."""
    return _information("model name") or _sysctl("machdep.cpu.brand_string") or _numbered()


def instructions() -> str:
    """Return the widest vector instructions that XLA may use: AVX-512, AVX2, or the architecture.

    ``XLA_FLAGS=--xla_cpu_max_isa=AVX2`` makes a larger processor a smaller one; of more such flags
    the last one holds.
    """
    flags = _information("flags").split() or _sysctl("machdep.cpu.leaf7_features").lower().split()
    limits = re.findall(r"--xla_cpu_max_isa=(\w+)", os.environ.get("XLA_FLAGS", ""))
    most = limits[-1].upper() if limits else "AVX512"
    if "avx512f" in flags and ("512" in most or "AMX" in most):
        return "AVX-512"
    return "AVX2" if "avx2" in flags and most not in ("SSE4_2", "AVX") else platform.machine()


def features() -> str:
    """Return all that a compiler may use of the processor, as its system lists it.

    Processors of one name may differ in it: virtual machines hide some, and ARM's have no name.
    """
    keys = ("flags", "Features", "CPU implementer", "CPU part", "CPU variant")
    found = [*map(_information, keys), *map(_sysctl, ("machdep.cpu.features", "hw.cpufamily"))]
    words = sorted({word for text in found for word in text.split()})
    return " ".join([platform.machine(), *words])


def cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def cache_bytes() -> int:
    """Return the size of the largest cache, in bytes; :data:`CACHE_BYTES` where none is known.

    Of a cache that more cores share than this process may use, at most :data:`CACHE_PER_CORE` each.
    """
    found = [_size(path) for path in _CACHES.glob("index*/size")]
    for key in ("hw.l3cachesize", "hw.perflevel0.l2cachesize", "hw.l2cachesize"):
        found.append(_size(_sysctl(key)) if not any(found) else 0)
    return min(max(found, default=0) or CACHE_BYTES, CACHE_PER_CORE * cores())


def _size(source: Path | str) -> int:
    """Read "512K", or bytes; 0 where it is neither."""
    try:
        text = source if isinstance(source, str) else source.read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.fullmatch(r"(\d+)([KMG]?)", text.strip())
    return int(found[1]) * _UNITS.get(found[2], 1) if found else 0


def _numbered() -> str:
    """Name the architecture with who made the processor, and which of the maker's it is."""
    words = (("implementer", "CPU implementer"), ("part", "CPU part"))
    numbers = (f"{word} {number}" for word, key in words if (number := _information(key)))
    return ", ".join((_architecture(), *numbers))


def _architecture() -> str:
    return platform.processor() or platform.machine()


@cache
def _information(key: str) -> str:
    try:
        lines = _INFORMATION.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")


@cache
def _sysctl(key: str) -> str:
    """Ask macOS; elsewhere nothing."""
    if platform.system() != "Darwin":
        return ""
    asked = subprocess.run(["sysctl", "-n", key], capture_output=True, text=True, check=False)
    return asked.stdout.strip()
