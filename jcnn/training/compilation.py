"""JAX's compilation cache on disk: a second run of the same experiment starts at once."""

from __future__ import annotations

import os
from pathlib import Path

import jax

FOLDER = "JCNN_CACHE"


def enable_compilation_cache() -> None:
    """Keep compiled programs in ``JCNN_CACHE``, or in ``~/.cache/jcnn/xla``.

    An empty ``JCNN_CACHE``, or a folder that can't be written, leaves the cache off; so does a
    ``JAX_COMPILATION_CACHE_DIR``, which JAX follows by itself.
    """
    named = os.environ.get(FOLDER)
    if named == "" or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = Path(named).expanduser() if named else Path.home() / ".cache" / "jcnn" / "xla"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if not os.access(folder, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
