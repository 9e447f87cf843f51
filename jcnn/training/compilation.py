"""JAX's compilation cache on disk: a second run of the same experiment starts at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, TypeVar

import jax

from jcnn.config import Experiment
from jcnn.data.folder import expanded
from jcnn.folders import cache_folder

Function = TypeVar("Function", bound=Callable[..., Any])

FOLDER = "JCNN_CACHE"


def enable_compilation_cache() -> None:
    """Keep compiled programs in ``JCNN_CACHE``, or in ``~/.cache/jcnn/xla``.

    An empty ``JCNN_CACHE``, or a folder that can't be written, leaves the cache off; so does a
    ``JAX_COMPILATION_CACHE_DIR``, which JAX follows by itself.
    """
    named = os.environ.get(FOLDER)
    if named == "" or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = expanded(named) if named else cache_folder() / "xla"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if not os.access(folder, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    # On meshes programs hold the address of a callback, another in each process; what the
    # callback says is in the program as well (jcnn/ops/partition.py).
    jax.config.update("jax_remove_custom_partitioning_ptr_from_cache_key", True)


def in_own_precision(function: Function) -> Function:
    """Let JAX_ENABLE_X64 change nothing: an experiment says its precision itself."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with jax.enable_x64(False):
            return function(*args, **kwargs)

    return call  # type: ignore[return-value]


def multiplying(experiment: Experiment) -> AbstractContextManager[Any]:
    """Within the context, what is traced multiplies in the precision that the experiment says."""
    asked = experiment.training.matmul_precision
    return jax.default_matmul_precision(asked) if asked else nullcontext()
