"""PyTorch's functions with jcnn's padding, which may differ before and after an axis."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

_CONVOLUTIONS: dict[int, Any] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSED: dict[int, Any] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
_MAX_POOLS: dict[int, Any] = {
    1: functional.max_pool1d,
    2: functional.max_pool2d,
    3: functional.max_pool3d,
}
_AVERAGE_POOLS: dict[int, Any] = {
    1: functional.avg_pool1d,
    2: functional.avg_pool2d,
    3: functional.avg_pool3d,
}
_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def memory_format(dimensions: int) -> torch.memory_format | None:
    """Return the channels-last format of tensors of so many axes, if there is one."""
    return _FORMATS.get(dimensions)


def padded(x: Tensor, padding: Pairs, value: float = 0.0) -> Tensor:
    """Surround the spatial axes with a value."""
    if not any(map(any, padding)):
        return x
    return functional.pad(x, [n for pair in reversed(padding) for n in pair], value=value)


def _even(padding: Pairs) -> bool:
    return all(lo == hi for lo, hi in padding)


def convolution(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    strides: Ints,
    padding: Pairs,
    dilation: Ints,
    groups: int,
) -> Tensor:
    """Correlate, as PyTorch's convolutions do."""
    within = tuple(lo for lo, _ in padding) if _even(padding) else 0
    x = x if _even(padding) else padded(x, padding)
    return _CONVOLUTIONS[w.ndim - 2](x, w, b, strides, within, dilation, groups)


def transposed_convolution(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    strides: Ints,
    padding: Pairs,
    dilation: Ints,
    groups: int,
) -> Tensor:
    """Add scaled copies of the kernel, and cut ``padding`` off."""
    function = _TRANSPOSED[w.ndim - 2]
    if _even(padding):
        within = tuple(lo for lo, _ in padding)
        return function(x, w, b, strides, within, 0, groups, dilation)
    y = function(x, w, b, strides, 0, 0, groups, dilation)
    return y[(..., *(slice(lo, -hi or None) for lo, hi in padding))]


def pool(kind: str, x: Tensor, window: Ints, strides: Ints, padding: Pairs) -> Tensor:
    """Pool; ``kind`` is a layer's type."""
    rank = len(window)
    maximum = kind in ("max_pool", "relu_max_pool")
    if maximum and _even(padding):
        y = _MAX_POOLS[rank](x, window, strides, tuple(lo for lo, _ in padding))
    elif maximum:
        y = _MAX_POOLS[rank](padded(x, padding, -torch.inf), window, strides)
    else:
        x = padded(x * x if kind == "square_pool" else x, padding)
        y = _AVERAGE_POOLS[rank](x, window, strides)
        y = y * prod(window) if kind == "square_pool" else y
    return torch.relu(y) if kind == "relu_max_pool" else y
