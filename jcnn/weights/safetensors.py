"""Weights in ``.safetensors`` files, named and laid out as PyTorch has them.

Such a file is a header in JSON and plain numbers: reading one runs no code, unlike a pickle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from jcnn.config import Experiment
from jcnn.errors import UserError, nearest
from jcnn.layers import Params, State
from jcnn.runs.files import write_bytes
from jcnn.weights.torch_layout import Tensor, model_tensors

DTYPE = "F32"
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


def read_weights(path: str | PathLike[str], experiment: Experiment) -> tuple[Params, State]:
    """Read the parameters and running statistics of an experiment's model.

    Every array of the model must be there, with its shape, in float32, and no other one.

    Raises:
        UserError: The file is missing, damaged or does not fit; one sentence names it, the tensor,
            what was expected and what was found.
    """
    from safetensors import SafetensorError, safe_open

    path, tensors = Path(path), _tensors(experiment)
    _check_is_file(path)
    tree: dict[str, Any] = {"params": {}, "state": {}}
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            _check_names(path, tensors, slices)
            for tensor in tensors:
                _check_tensor(path, tensor, slices[tensor.name])
            for tensor in tensors:
                array = tensor.layout.from_torch(file.get_tensor(tensor.name))
                _put(tree, tensor.path, array)
    except SafetensorError as error:
        raise UserError(
            f"{path} {_damage(path) or f'is no intact .safetensors file: {error}'}"
        ) from None
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}") from None
    return tree["params"], tree["state"]


def initial_weights(experiment: Experiment) -> tuple[Params, State] | None:
    """Read what ``training.initial_weights`` names; None where it names nothing.

    Raises:
        UserError: See :func:`read_weights`.
    """
    named = experiment.training.initial_weights
    return None if named is None else read_weights(Path(named).expanduser(), experiment)


def _tensors(experiment: Experiment) -> list[Tensor]:
    return model_tensors(experiment.model, experiment.input_shape)


def _check_is_file(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"{path} is a folder: expected a .safetensors file of weights")
    if not path.exists():
        raise UserError(f"{path} does not exist: expected a .safetensors file of weights")


def _check_names(path: Path, tensors: Sequence[Tensor], found: Mapping[str, Any]) -> None:
    expected = {tensor.name: tensor for tensor in tensors}
    surplus = [name for name in found if name not in expected and not _counts_batches(name, found)]
    for name, tensor in expected.items():
        if name not in found:
            raise UserError(
                f"{path} has no tensor '{name}'{nearest(name, surplus)}: expected the "
                f"{_what(tensor)}, {list(tensor.layout.theirs)}"
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
    if dtype != DTYPE:
        raise UserError(f"{place} has the dtype {dtype}: expected {DTYPE} (float32)")


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
        except (ValueError, TypeError, AttributeError, LookupError):
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
