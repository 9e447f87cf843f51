"""What people give as weights: other formats, addresses, names with a prefix."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from jcnn.errors import UserError

_TORCH = (
    "python -c \"import torch, safetensors.torch as s; s.save_file(torch.load('{path}', "
    "weights_only=True), 'weights.safetensors')\", where PyTorch is"
)
_ARRAYS = (
    "python -c \"import numpy, safetensors.numpy as s; s.save_file(dict(numpy.load('{path}')), "
    "'weights.safetensors')\""
)
_CONVERSIONS = {
    **dict.fromkeys((".pt", ".pth", ".bin", ".ckpt"), _TORCH),
    ".npz": _ARRAYS,
    **dict.fromkeys((".h5", ".keras", ".onnx", ".pkl", ".msgpack"), ""),
}


def check_file(path: str | PathLike[str]) -> Path:
    """Return the path of a file of weights.

    Raises:
        UserError: It is none; the sentence says how one is made of what was given.
    """
    text = str(path)
    if re.match(r"\w+:/", text):
        raise UserError(f"{text} is an address: expected a file; download it first")
    file = Path(path)
    if file.is_dir():
        raise UserError(f"{file} is a folder: expected a .safetensors file of weights")
    if not file.exists():
        raise UserError(f"{file} does not exist: expected a .safetensors file of weights")
    conversion = _CONVERSIONS.get(file.suffix.lower())
    if conversion is not None:
        how = conversion.format(path=file)
        raise UserError(
            f"{file} is in another format: expected a .safetensors file, whose reading runs no code"
            + (f"; convert it with {how}" if how else "")
        )
    return file


def renamed(path: Path, names: Sequence[str], replace: Mapping[str, str]) -> dict[str, str]:
    """Return the file's names by what they become.

    Raises:
        UserError: A pattern is no regular expression, or two names become one.
    """
    found: dict[str, str] = {}
    for name in names:
        new = name
        for pattern, instead in replace.items():
            try:
                new = re.sub(pattern, instead, new)
            except (re.error, LookupError, OverflowError, RecursionError) as error:
                raise UserError(
                    f"training.initial_weights.replace: '{pattern}' with '{instead}' is no regular "
                    f"expression and its replacement: {error}"
                ) from None
        if new in found:
            raise UserError(
                f"training.initial_weights.replace makes '{new}' of two tensors of {path}, "
                f"'{found[new]}' and '{name}'"
            )
        found[new] = name
    return found


def prefix_hint(name: str, surplus: Sequence[str]) -> str:
    r"""Say how to take a prefix away, where a file has a name with one.

    >>> prefix_hint("features.0.weight", ["module.features.0.weight"])
    ' (it has \'module.features.0.weight\': replace = {"^module[.]" = ""} takes the prefix away)'
    """
    longer = next((each for each in surplus if each.endswith(f".{name}")), None)
    if longer is None:
        return ""
    prefix = longer.removesuffix(name).replace(".", "[.]")
    return f' (it has \'{longer}\': replace = {{"^{prefix}" = ""}} takes the prefix away)'
