"""Weights in ``.safetensors`` files, named and laid out as PyTorch has them.

Such a file is a header in JSON and plain numbers: reading one runs no code, unlike a pickle.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from jcnn.config import Experiment
from jcnn.errors import UserError, nearest
from jcnn.layers import Params, State
from jcnn.runs.files import write_bytes
from jcnn.weights.names import check_file, prefix_hint, renamed
from jcnn.weights.torch_layout import Tensor, model_tensors

DTYPES = ("F32", "F16", "BF16", "F64")
HEADER_LENGTH_BYTES = 8


def write_weights(
    path: str | PathLike[str], experiment: Experiment, params: Params, state: State
) -> list[str]:
    """Write a model's parameters and running statistics; the file is whole or not there.

    Args:
        path: The file, replaced where it exists.
        experiment: Whose model it is.
        params: The model's parameters.
        state: The model's running statistics.

    Returns:
        The tensors' names.

    Raises:
        UserError: The file can't be written, or a layer has no counterpart in PyTorch.
    """
    from safetensors.numpy import save

    tree = {"params": params, "state": state}
    tensors = {
        tensor.name: tensor.layout.to_torch(np.asarray(_at(tree, tensor.path)))
        for tensor in _tensors(experiment)
    }
    try:
        write_bytes(Path(path), save(tensors, {"format": "pt"}))
    except OSError as error:
        raise UserError(f"'{path}' can't be written: {error.strerror or error}") from None
    return list(tensors)


def read_weights(
    path: str | PathLike[str],
    experiment: Experiment,
    *,
    ignore: Sequence[str] = (),
    replace: Mapping[str, str] | None = None,
    drawn: tuple[Params, State] | None = None,
) -> tuple[Params, State]:
    """Read the parameters and running statistics of an experiment's model.

    Every array of the model must be there, with its shape, and no other one. Other floating dtypes
    than float32 are converted.

    Args:
        path: A ``.safetensors`` file.
        experiment: Whose model it is.
        ignore: Patterns of the model's tensors (``"classifier.6.*"``) that are taken from
            ``drawn``; tensors of the file that fit them are passed over.
        replace: Regular expressions and what takes their place in the file's names.
        drawn: The model's parameters and running statistics for what is ignored.

    Raises:
        UserError: The file is missing, damaged or does not fit, or holds what is no number; one
            sentence names it, the tensor, what was expected and what was found.
    """
    from safetensors import SafetensorError, safe_open

    path, tensors = check_file(path), _tensors(experiment)
    tree: dict[str, Any] = {"params": {}, "state": {}}
    if drawn is not None:
        ours = {"params": drawn[0], "state": drawn[1]}
        for tensor in tensors:
            _put(tree, tensor.path, np.asarray(_at(ours, tensor.path)))
    wanted = [tensor for tensor in tensors if not fits(tensor.name, ignore)]
    try:
        with safe_open(path, framework="numpy") as file:
            theirs = renamed(path, list(file.keys()), replace or {})
            _check_patterns(path, ignore, {*theirs, *(tensor.name for tensor in tensors)})
            slices = {n: file.get_slice(t) for n, t in theirs.items() if not fits(n, ignore)}
            _check_names(path, wanted, slices)
            for tensor in wanted:
                _check_tensor(path, tensor, slices[tensor.name])
            for tensor in wanted:
                array = _float32(path, tensor, file.get_tensor(theirs[tensor.name]))
                _put(tree, tensor.path, tensor.layout.from_torch(array))
    except SafetensorError as error:
        raise UserError(
            f"{path} {_damage(path) or f'is no intact .safetensors file: {error}'}"
        ) from None
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}") from None
    return tree["params"], tree["state"]


def fits(name: str, patterns: Sequence[str]) -> bool:
    """Whether a tensor's name fits one of the patterns of ``ignore``."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _check_patterns(path: Path, patterns: Sequence[str], names: Collection[str]) -> None:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UserError(
                f"training.initial_weights.ignore: '{pattern}' fits no tensor of the model or of "
                f"{path}{nearest(pattern, names)}: there are {', '.join(sorted(names))}"
            )


def _float32(path: Path, tensor: Tensor, array: np.ndarray) -> np.ndarray:
    """Convert a floating array; refuse what holds infinities or no numbers."""
    with np.errstate(over="ignore"):
        converted = array.astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(converted))
    if len(wrong):
        raise UserError(
            f"{path}: tensor '{tensor.name}', the {_what(tensor)}, holds "
            f"{array.ravel()[wrong[0]]} in {len(wrong)} of {array.size} places: expected numbers "
            "that float32 has"
        )
    return converted


def _tensors(experiment: Experiment) -> list[Tensor]:
    return model_tensors(experiment.model, experiment.input_shape)


def _check_names(path: Path, tensors: Sequence[Tensor], found: Mapping[str, Any]) -> None:
    expected = {tensor.name: tensor for tensor in tensors}
    surplus = [name for name in found if name not in expected and not _counts_batches(name, found)]
    for name, tensor in expected.items():
        if name not in found:
            hint = prefix_hint(name, surplus) or nearest(name, surplus)
            raise UserError(
                f"{path} has no tensor '{name}'{hint}: expected the {_what(tensor)}, "
                f"{list(tensor.layout.theirs)}"
            )
    if surplus:
        raise UserError(
            f"{path} has a tensor '{surplus[0]}'{nearest(surplus[0], expected)}: expected only "
            f"the {len(expected)} of the model, from '{tensors[0].name}' to '{tensors[-1].name}'"
        )


def _counts_batches(name: str, found: Mapping[str, Any]) -> bool:
    """Whether it is the count that PyTorch keeps beside running statistics; nothing needs it."""
    layer, _, last = name.rpartition(".")
    return last == "num_batches_tracked" and f"{layer}.running_mean" in found


def _check_tensor(path: Path, tensor: Tensor, found: Any) -> None:
    shape, dtype = tuple(found.get_shape()), found.get_dtype()
    place = f"{path}: tensor '{tensor.name}', the {_what(tensor)},"
    if shape != tensor.layout.theirs:
        raise UserError(
            f"{place} has the shape {list(shape)}: expected {list(tensor.layout.theirs)}"
        )
    if dtype not in DTYPES:
        raise UserError(f"{place} has the dtype {dtype}: expected F32 (float32), F16, BF16 or F64")


def _what(tensor: Tensor) -> str:
    _, *layers, key = tensor.path
    return f"'{key}' of layer '{'.'.join(layers)}'"


def _damage(path: Path) -> str | None:
    """Say which tensor a file that was cut short lacks; None where that isn't what is wrong."""
    content = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(HEADER_LENGTH_BYTES), "little")
        begin = HEADER_LENGTH_BYTES + length
        if content < begin or not length:
            return None
        try:
            header = json.loads(stream.read(length))
            ends = {n: begin + t["data_offsets"][1] for n, t in header.items() if n[:2] != "__"}
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
            return None
    for name, end in sorted(ends.items(), key=lambda item: item[1]):
        if end > content:
            return (
                f"is cut short: its tensor '{name}' ends at byte {end}, and it has {content} bytes"
            )
    return None


def _at(tree: Any, path: Sequence[str]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _put(tree: Any, path: Sequence[str], array: np.ndarray) -> None:
    *parents, last = path
    for key in parents:
        tree = tree.setdefault(key, {})
    tree[last] = array
