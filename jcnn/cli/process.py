"""What the command sets right for its own process before JAX starts, and how it leaves.

glibc's allocator gives large freed buffers back to the kernel, so that a training step whose
temporaries are large faults the same pages in again, step after step; the faults cost more than
the arithmetic. Its settings are read once, when a process starts. So the command starts itself
again, once, with settings that keep freed memory and ask for huge pages.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from jcnn.departure import hold
from jcnn.errors import command
from jcnn.remains import end_workers

SWITCH = "JCNN_ALLOCATOR"
COMMANDS = ("train", "sweep", "evaluate", "bench", "tune")
TUNABLES = ":".join(
    (
        "glibc.malloc.hugetlb=1",
        "glibc.malloc.mmap_max=0",
        f"glibc.malloc.trim_threshold={16 << 30}",
        f"glibc.malloc.top_pad={256 << 20}",
    )
)
_ACCELERATORS = ("jax_cuda12_plugin", "jax_cuda13_plugin", "jax_rocm7_plugin", "libtpu")


def tune_allocator(arguments: Sequence[str]) -> None:
    """Start this process again under :data:`TUNABLES` where that helps; does not return then."""
    environment = tuned_environment(arguments, os.environ)
    if environment is None:
        return
    hold()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def leaving(out: Path, *, silently: bool = False) -> Callable[[int | None, int], NoReturn]:
    """Return how a training into ``out`` leaves when it doesn't come to a safe point by itself."""

    def leave(step: int | None, number: int) -> NoReturn:
        line = stopped(out, step) if (out / "experiment.toml").exists() else "stopped"
        if not silently:
            os.write(2, f"{line}\n".encode(errors="backslashreplace"))
        end_workers()
        os._exit(128 + number)

    return leave


def end(code: int) -> NoReturn:
    """End now that all is written: Python's own way out may meet threads of XLA, and abort."""
    end_workers()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def stopped(out: Path, step: int | None) -> str:
    """Say where a training stopped, and how to go on."""
    where = "" if step is None else f" after step {step}"
    return f"stopped{where}; continue with: {command('train', out, '--resume')}"


def allocator_note() -> str | None:
    """Say what was set right for this process, if anything was."""
    if os.environ.get(SWITCH) != "tuned":
        return None
    return (
        "freed memory is kept for the next step, through GLIBC_TUNABLES "
        f"({SWITCH}=system leaves the allocator alone)"
    )


def tuned_environment(
    arguments: Sequence[str], environment: Mapping[str, str]
) -> dict[str, str] | None:
    """Return the environment to start again with, or None where this process is right as it is.

    The switch is set in what is returned, so that the second process does not start a third.
    """
    if not arguments or arguments[0] not in COMMANDS or "--help" in arguments:
        return None
    tunables = environment.get("GLIBC_TUNABLES", "")
    if SWITCH in environment or "glibc.malloc." in tunables:
        return None
    if not _is_glibc() or _expects_accelerator(environment) or not sys.executable:
        return None
    joined = f"{tunables}:{TUNABLES}" if tunables else TUNABLES
    return {**environment, "GLIBC_TUNABLES": joined, SWITCH: "tuned"}


def _is_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):
        return False


def _expects_accelerator(environment: Mapping[str, str]) -> bool:
    """Whether JAX will probably compute elsewhere; asking JAX itself would start it."""
    platforms = environment.get("JAX_PLATFORMS", "")
    if platforms:
        return platforms != "cpu"
    return any(importlib.util.find_spec(name) for name in _ACCELERATORS)


def leave_precision_alone() -> None:
    """Take JAX_ENABLE_X64 away: an experiment's figures are those of its own precision."""
    if "jax" not in sys.modules:
        os.environ.pop("JAX_ENABLE_X64", None)


def memory_mistake(error: Exception) -> str | None:
    """Say in a sentence that the memory is not enough; None for other errors."""
    first = next(iter(str(error).strip().splitlines()), "")
    if isinstance(error, MemoryError):
        return f"memory is not enough: {first}" if first else "memory is not enough"
    if "RESOURCE_EXHAUSTED" not in str(error):  # XLA's own class can't be named without loading it
        return None
    return f"memory is not enough; a smaller training.batch_size needs less: {first}"


def platform_mistake(error: Exception) -> str | None:
    """Say in a sentence that JAX can't start on the platform asked for; None for other errors."""
    if "jax" not in sys.modules or not isinstance(error, RuntimeError | AssertionError):
        return None
    failure: Exception | None = error if "Unable to initialize backend" in str(error) else None
    if failure is None:  # some of JAX's say nothing: asked again, it fails again
        import jax

        try:
            jax.devices()
        except Exception as again:
            failure = again
        else:
            return None
    reason = next(iter(str(failure).splitlines()), "") or type(failure).__name__
    named = os.environ.get("JAX_PLATFORMS")
    if named is None:
        return f"JAX finds nothing to compute on: {reason}"
    return (
        f"JAX_PLATFORMS is '{named}', which JAX can't start here ({reason}): expected cpu, or what "
        "is installed"
    )
