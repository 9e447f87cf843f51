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
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from jcnn.errors import UserError
from jcnn.fields import dims
from jcnn.runs.files import reason, sync, write_text

ARRAYS, RECORD, HASHES = "arrays.safetensors", "record.json", "sha256.json"


def plain(tree: Any) -> Any:
    """Copy arrays into NumPy's, random keys as the numbers that they are made of."""
    return jax.tree.map(lambda a: np.array(_numbers(a)), tree)


def _numbers(a: Any) -> Any:
    return jax.random.key_data(a) if _is_key(a) else a


def _is_key(a: Any) -> bool:
    return jnp.issubdtype(a.dtype, jax.dtypes.prng_key)


def write(folder: Path, tree: Any, record: Mapping[str, Any]) -> None:
    """Write a checkpoint whole or not at all, and wait until it is on the disk.

    Args:
        folder: Where; its parent must exist. One that is there is left as it is.
        tree: A pytree of NumPy arrays, which are named by their paths in it.
        record: What else belongs to it, for JSON.
    """
    if folder.exists():
        return
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        save_file(_named(tree), temporary / ARRAYS)
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
    try:
        found = load_file(folder / ARRAYS)
    except (SafetensorError, OSError) as error:
        raise UserError(f"checkpoint '{folder}' can't be read: {reason(error)}") from error
    expected = _named(jax.eval_shape(lambda tree: jax.tree.map(_numbers, tree), like))
    for name in sorted(expected.keys() | found.keys()):
        one, other = (_described(arrays.get(name)) for arrays in (found, expected))
        if one != other:
            raise UserError(
                f"checkpoint '{folder}' is of another model: {name} is {one}, and the experiment's "
                f"is {other}"
            )

    def restored(path: Any, leaf: Any) -> jax.Array:
        array = jnp.array(found[_name(path)])  # a copy: what a step consumes must be JAX's own
        return jax.random.wrap_key_data(array) if _is_key(leaf) else array

    return jax.tree_util.tree_map_with_path(restored, like)


def _named(tree: Any) -> dict[str, Any]:
    return {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _described(array: Any) -> str:
    return "missing" if array is None else f"{dims(array.shape) or 'a number'}, {array.dtype}"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
