"""Single operations in PyTorch, and their passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from jcnn.benchmark.torch.functions import FUNCTIONS, memory_format, shape_of


def build(operation: dict[str, Any], layout: str, device: str) -> Callable[[], object]:
    """Return a function that runs one pass of one operation on random arguments.

    Args:
        operation: ``op``, ``arrays`` (name, shape and dtype of each, jcnn's axes), ``statics`` and
            ``passes``, one of "forward", "input gradient", "kernel gradient",
            "forward and backward".
        layout: "contiguous", "channels_last" or "compiled".
        device: PyTorch's name of it.
    """
    op, options = operation["op"], dict(operation["statics"])
    function = FUNCTIONS.get(op)
    if function is None:
        raise ValueError(f"it has no counterpart of '{op}'")
    tensors = {
        name: _tensor(shape_of(op, name, tuple(shape), options.get("groups", 1)), dtype, layout)
        for name, shape, dtype in operation["arrays"]
        if not dtype.startswith("key")
    }

    def forward(*arguments: Tensor) -> Tensor:
        return function(**dict(zip(tensors, arguments, strict=True)), **options)

    arguments = tuple(tensor.to(device) for tensor in tensors.values())
    if layout == "compiled":
        forward = torch.compile(forward)
    return _pass(operation["passes"], forward, arguments)


def _tensor(shape: tuple[int, ...], dtype: str, layout: str) -> Tensor:
    if dtype.startswith("int"):
        return torch.randint(10, shape)
    if len(shape) < 3:
        return torch.rand(shape)
    tensor, wanted = torch.randn(shape), memory_format(len(shape))
    return tensor.contiguous(memory_format=wanted) if layout != "contiguous" and wanted else tensor


def _pass(
    passes: str, forward: Callable[..., Tensor], arguments: tuple[Tensor, ...]
) -> Callable[[], object]:
    if passes == "forward":

        def run() -> object:
            with torch.no_grad():
                return forward(*arguments)

        return run
    wanted = {"input gradient": arguments[:1], "kernel gradient": arguments[1:2]}.get(
        passes, tuple(a for a in arguments if a.is_floating_point())
    )
    for argument in wanted:
        argument.requires_grad_(True)
    y = forward(*arguments)
    dy = torch.randn_like(y)
    if passes == "forward and backward":
        return lambda: torch.autograd.grad(forward(*arguments), wanted, dy)
    # The graph is kept, so that each run is the gradient alone.
    return lambda: torch.autograd.grad(y, wanted, dy, retain_graph=True)
