"""Where what belongs to this user and machine lies, and how what is written there is named."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

# Where runs lie, unless told otherwise, and the file by which a folder is known as one.
RUNS = "runs"
EXPERIMENT = "experiment.toml"


def cache_folder() -> Path:
    """``~/.cache/jcnn``; for a user who has no home, an own folder among the temporary ones."""
    try:
        return Path.home() / ".cache" / "jcnn"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"jcnn-{os.getuid()}"
