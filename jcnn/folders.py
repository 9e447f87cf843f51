"""Where what belongs to this user and machine lies."""

from __future__ import annotations

import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """``~/.cache/jcnn``; for a user who has no home, a folder among the temporary ones."""
    try:
        return Path.home() / ".cache" / "jcnn"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / "jcnn"
