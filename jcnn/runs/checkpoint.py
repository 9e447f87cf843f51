"""One checkpoint: a folder with arrays, a record, and the hash of each of its files."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from jcnn.axes import times
from jcnn.errors import UserError
from jcnn.runs.files import MODE, reason, sync, write_text
from jcnn.runs.parts import Arrays, Single, Writers, is_key, joined, name_of, numbers

ARRAYS, RECORD, HASHES = "arrays.safetensors", "record.json", "sha256.json"


def write(
    folder: Path, arrays: Arrays, record: Mapping[str, Any], writers: Writers | None = None
) -> None:
    """Write a checkpoint whole or not at all, and wait until it is on the disk.

    Args:
        folder: Where; its parent must exist. One that is there is left as it is.
        arrays: Arrays by name, or this process's parts of them: see :mod:`jcnn.runs.parts`.
        record: What else belongs to it, for JSON.
        writers: The processes that write it together, where there are several. All of them call
            this; the first one makes the folder, and ends when all parts are in it.
    """
    if folder.exists():
        return
    writers = writers or Single()
    temporary = folder.with_name(f".{folder.name}.partial")
    first = writers.index == 0
    try:
        try:
            if first:
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir()
        finally:  # whatever has gone wrong, nobody waits for this process
            writers.meet()
        try:
            if temporary.exists():  # else the first one has an error to report
                save_file(arrays, temporary / _arrays_of(writers.index))
                (temporary / _arrays_of(writers.index)).chmod(MODE)
                sync(temporary / _arrays_of(writers.index))
        finally:
            writers.meet()
        if first:
            _finish(temporary, folder, record, writers.count)
    except BaseException:
        if first:
            shutil.rmtree(temporary, ignore_errors=True)
        raise


def _arrays_of(index: int) -> str:
    return f"arrays-{index}.safetensors" if index else ARRAYS


def _finish(temporary: Path, folder: Path, record: Mapping[str, Any], count: int) -> None:
    """Add the record and the hashes; give the folder its name."""
    for index in range(count):
        if not (temporary / _arrays_of(index)).exists():
            raise OSError(f"process {index} has not written its part")
    write_text(temporary / RECORD, json.dumps(record))
    hashes = {file.relative_to(temporary).as_posix(): _hash(file) for file in _files(temporary)}
    for path in temporary.rglob("*"):
        sync(path)
    write_text(temporary / HASHES, json.dumps(hashes, indent=1))
    temporary.rename(folder)
    sync(folder.parent)


def damage(folder: Path) -> str | None:
    """Compare each file with its hash; say what is wrong, or None where all is as written."""
    try:
        hashes = json.loads((folder / HASHES).read_bytes())
    except FileNotFoundError:
        return f"{HASHES} is missing"
    except (OSError, ValueError, RecursionError) as error:
        return f"{HASHES} can't be read: {reason(error)}"
    if not isinstance(hashes, dict) or not {RECORD, ARRAYS} <= hashes.keys():
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
    named = jax.eval_shape(lambda tree: jax.tree.map(numbers, tree), like)
    expected = {name_of(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(named)}
    try:
        found = joined(map(load_file, sorted(folder.glob("arrays*.safetensors"))), expected)
    except (SafetensorError, OSError) as error:
        raise UserError(f"checkpoint '{folder}' can't be read: {reason(error)}") from error
    for name in sorted(expected.keys() | found.keys()):
        one, other = (_described(arrays.get(name)) for arrays in (found, expected))
        if one != other:
            raise UserError(
                f"checkpoint '{folder}' is of another model: {name} is {one}, and the experiment's "
                f"is {other}"
            )

    def restored(path: Any, leaf: Any) -> jax.Array:
        array = jnp.array(found[name_of(path)])  # a copy: what a step consumes must be JAX's own
        return jax.random.wrap_key_data(array) if is_key(leaf) else array

    return jax.tree_util.tree_map_with_path(restored, like)


def _described(array: Any) -> str:
    return "missing" if array is None else f"{times(array.shape) or 'a number'}, {array.dtype}"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
