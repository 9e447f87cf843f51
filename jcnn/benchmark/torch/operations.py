"""Single operations in PyTorch, and their passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from jcnn.benchmark.torch.functions import (
    convolution,
    memory_format,
    pool,
    transposed_convolution,
)
from jcnn.geometry import pads

Shape = tuple[int, ...]


def build(operation: dict[str, Any], layout: str, device: str) -> Callable[[], object]:
    """Return a function that runs one pass of one operation on random arguments.

    Args:
        operation: ``op``, ``arrays`` (name, shape and dtype of each, jcnn's axes), ``statics`` and
            ``passes``, one of "forward", "input gradient", "kernel gradient",
            "forward and backward".
        layout: "contiguous", "channels_last" or "compiled".
        device: PyTorch's name of it.
    """
    options = dict(operation["statics"])
    tensors = {
        name: _tensor(name, shape, dtype, layout).to(device)
        for name, shape, dtype in operation["arrays"]
        if not dtype.startswith("key")
    }
    function = _FUNCTIONS.get(operation["op"])
    if function is None:
        raise ValueError(f"it has no counterpart of '{operation['op']}'")

    def forward(*arguments: Tensor) -> Tensor:
        return function(**dict(zip(tensors, arguments, strict=True)), **options)

    arguments = tuple(tensors.values())
    if layout == "compiled":
        forward = torch.compile(forward)
    return _pass(operation["passes"], forward, arguments)


def _tensor(name: str, shape: list[int], dtype: str, layout: str) -> Tensor:
    if dtype.startswith("int"):
        return torch.randint(10, shape)
    last = len(shape) - 1
    order = (0, last, *range(1, last)) if name == "x" else (last, last - 1, *range(last - 1))
    if name not in ("x", "w") or len(shape) < 3:
        return torch.rand(shape)
    tensor = torch.randn([shape[axis] for axis in order])
    wanted = memory_format(tensor.ndim)
    if layout != "contiguous" and wanted:
        tensor = tensor.contiguous(memory_format=wanted)
    return tensor


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


def _windows(
    rank: int, size: Shape, window: Shape, strides: Any, padding: Any
) -> tuple[Shape, tuple[tuple[int, int], ...]]:
    steps = (strides,) * rank if isinstance(strides, int) else tuple(strides)
    return steps, pads(padding, size, window, steps)


def _convolve(x: Tensor, w: Tensor, *, strides=1, padding: Any = "VALID", groups=1) -> Tensor:
    rank = w.ndim - 2
    steps, pairs = _windows(rank, tuple(x.shape[2:]), tuple(w.shape[2:]), strides, padding)
    return convolution(x, w, None, steps, pairs, (1,) * rank, groups)


def _transpose(x: Tensor, w: Tensor, *, strides=1, padding: Any = "VALID") -> Tensor:
    rank = w.ndim - 2
    # Of the paddings the table has only those that don't depend on a size.
    steps, pairs = _windows(rank, tuple(x.shape[2:]), tuple(w.shape[2:]), strides, padding)
    return transposed_convolution(x, w.transpose(0, 1), None, steps, pairs, (1,) * rank, 1)


def _pool(kind: str) -> Callable[..., Tensor]:
    def run(x: Tensor, *, window: Any, strides: Any = None, padding: Any = "VALID") -> Tensor:
        rank = x.ndim - 2
        window = (window,) * rank if isinstance(window, int) else tuple(window)
        steps, pairs = _windows(rank, tuple(x.shape[2:]), window, strides or window, padding)
        return pool(kind, x, window, steps, pairs)

    return run


def _batch_norm(x: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    return functional.batch_norm(x, None, None, scale, offset, training=True)


def _local_response_norm(x: Tensor, *, size=5, offset=2.0, scale=1e-4, power=0.75) -> Tensor:
    return functional.local_response_norm(x, size, alpha=scale * size, beta=power, k=offset)


_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "correlate": _convolve,
    "convolve": _convolve,
    "convolve_transpose": _transpose,
    **{kind: _pool(kind) for kind in ("max_pool", "relu_max_pool", "average_pool", "square_pool")},
    "global_max_pool": lambda x: x.flatten(2).amax(2),
    "global_average_pool": lambda x: x.flatten(2).mean(2),
    "scaled_tanh": lambda x: 1.7159 * torch.tanh(x * (2 / 3)),
    "batch_norm": _batch_norm,
    "local_response_norm": _local_response_norm,
    "dropout": lambda x, *, drop_rate: functional.dropout(x, drop_rate),
    "softmax_cross_entropy": lambda logits, labels, **options: functional.cross_entropy(
        logits, labels, reduction="none", **options
    ),
    "binary_cross_entropy": lambda logits, target: functional.binary_cross_entropy_with_logits(
        logits, target, reduction="none"
    ).mean(1),
    "mean_squared_error": lambda prediction, target: functional.mse_loss(
        prediction, target, reduction="none"
    ).mean(1),
}
