"""One checkpoint: a folder with arrays, a record, and the hash of each of its files."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from jcnn.errors import UserError
from jcnn.fields import dims
from jcnn.runs.files import reason, sync, write_text

ARRAYS, RECORD, HASHES = "arrays", "record.json", "sha256.json"


def _is_not_orbaxs(record: logging.LogRecord) -> bool:
    """Drop what Orbax logs through absl: what goes wrong there is raised as well, and said once."""
    return "orbax" not in record.pathname


def keep_orbax_quiet() -> None:
    """Let only what others than Orbax say through absl reach the person."""
    logging.getLogger("absl").addFilter(_is_not_orbaxs)


def write(folder: Path, tree: Any, record: Mapping[str, Any]) -> None:
    """Write a checkpoint whole or not at all, and wait until it is on the disk.

    Args:
        folder: Where; its parent must exist. One that is there is left as it is.
        tree: A pytree of NumPy arrays.
        record: What else belongs to it, for JSON.
    """
    if folder.exists():
        return
    keep_orbax_quiet()
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as writer:
            writer.save((temporary / ARRAYS).absolute(), args=ocp.args.StandardSave(tree))
        write_text(temporary / RECORD, json.dumps(record))
        hashes = {file.relative_to(temporary).as_posix(): _hash(file) for file in _files(temporary)}
        for path in temporary.rglob("*"):
            sync(path)
        write_text(temporary / HASHES, json.dumps(hashes, indent=1))
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync(folder.parent)


def damage(folder: Path) -> str | None:
    """Compare each file with its hash; say what is wrong, or None where all is as written."""
    try:
        hashes = json.loads((folder / HASHES).read_bytes())
    except FileNotFoundError:
        return f"{HASHES} is missing"
    except (OSError, ValueError) as error:
        return f"{HASHES} can't be read: {reason(error)}"
    if not isinstance(hashes, dict) or RECORD not in hashes:
        return f"{HASHES} is not what was written"
    for name, expected in hashes.items():
        try:
            if _hash(folder / name) != expected:
                return f"{name} is not what was written"
        except FileNotFoundError:
            return f"{name} is missing"
        except (OSError, ValueError) as error:
            return f"{name} can't be read: {reason(error)}"
    return None


def read_record(folder: Path) -> dict[str, Any]:
    """Read the record of a checkpoint that is undamaged."""
    return json.loads((folder / RECORD).read_bytes())


def read_arrays(folder: Path, like: Any) -> Any:
    """Read the arrays of a checkpoint that is undamaged.

    Args:
        folder: The checkpoint.
        like: A pytree of ``jax.ShapeDtypeStruct`` with the structure that was saved.

    Raises:
        UserError: It is of another model.
    """
    keep_orbax_quiet()
    try:
        with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
            arrays = (folder / ARRAYS).absolute()
            tree = reader.restore(arrays, args=ocp.args.StandardRestore(like, strict=False))
    except Exception as error:  # Orbax and TensorStore raise whatever they meet
        raise UserError(f"checkpoint '{folder}' can't be read: {reason(error)}") from error
    jax.tree_util.tree_map_with_path(lambda *leaf: _check(folder, *leaf), like, tree)
    return tree


def _check(folder: Path, path: Any, expected: Any, found: Any) -> None:
    if (np.shape(found), found.dtype) != (expected.shape, expected.dtype):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        raise UserError(
            f"checkpoint '{folder}' is of another model: {name} is "
            f"{dims(np.shape(found)) or 'a number'}, {found.dtype}, and the experiment's is "
            f"{dims(expected.shape) or 'a number'}, {expected.dtype}"
        )


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
