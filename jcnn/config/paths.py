"""Where an experiment's file lies, and where the paths in it lead."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

OWN_FOLDERS = ("image_folder", "sound_folder")
PACKAGE = Path(__file__).parents[1]


def shipped() -> tuple[str, ...]:
    """Names of the experiments that come with jcnn.

    >>> "digits" in shipped()
    True
    """
    return tuple(sorted(path.stem for path in _shipped_folder().glob("*.toml")))


def find_config(path: Path) -> Path:
    """Return the path, or that of the experiment of this name that comes with jcnn."""
    if path.name != str(path) or path.suffix or path.exists():
        return path
    return _shipped_folder() / f"{path}.toml" if str(path) in shipped() else path


def _shipped_folder() -> Path:
    """The folder within an installed package; in a clone it lies beside the package."""
    installed = PACKAGE / "configs"
    return installed if installed.is_dir() else PACKAGE.parent / "configs"


def anchor(document: dict[str, Any], folder: Path, overrides: Mapping[str, object]) -> None:
    """Complete relative paths: those of the file from its own folder, overrides from here.

    A path that leads nowhere from there is left as it is, and may lead somewhere from the data
    folder.

    Args:
        document: The experiment's tables, changed in place.
        folder: Where its file lies.
        overrides: What took the place of the file's values.
    """
    for table, key in (("data", "folder"), ("training", "initial_weights")):
        place = f"{table}.{key}"
        holder: Any = document.get(table)
        if table == "data" and isinstance(holder, dict) and holder.get("name") not in OWN_FOLDERS:
            continue
        if isinstance(holder, dict) and isinstance(holder.get(key), dict):
            holder, key, place = holder[key], "file", f"{place}.file"
        if not isinstance(holder, dict) or not isinstance(holder.get(key), str):
            continue
        given_here = any(f"{place}.".startswith(f"{name}.") for name in overrides)
        holder[key] = _completed(holder[key], Path() if given_here else folder)


def _completed(written: str, base: Path) -> str:
    if not written or "://" in written:
        return written
    try:
        path = os.path.abspath(base / Path(written).expanduser())  # noqa: PTH100 (links stay)
        return path if Path(path).exists() else written
    except (OSError, RuntimeError, ValueError):  # no such home, too long, a zero byte
        return written
