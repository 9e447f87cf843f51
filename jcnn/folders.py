"""Where what belongs to this user and machine lies, and how what is written there is named."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

# Where runs lie, unless told otherwise, and the files by which a folder is known as one, or as a
# sweep of them.
RUNS = "runs"
EXPERIMENT = "experiment.toml"
SWEEP = "sweep.json"


def cache_folder() -> Path:
    """``~/.cache/jcnn``; for a user who has no home, an own folder among the temporary ones."""
    try:
        return Path.home() / ".cache" / "jcnn"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"jcnn-{os.getuid()}"
