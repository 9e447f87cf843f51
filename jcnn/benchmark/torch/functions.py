"""PyTorch's counterparts of :mod:`jcnn.ops`, with jcnn's arguments; tensors have channels first."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from jcnn.axes import ZEROS, pads, per_axis
from jcnn.geometry import Geometry, place, place_pool, place_transposed

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def _of_rank(name: str, rank: int) -> Callable[..., Tensor]:
    return getattr(functional, f"{name}{rank}d")


def memory_format(dimensions: int) -> torch.memory_format | None:
    """Return the channels-last format of tensors of so many axes, if there is one."""
    return _FORMATS.get(dimensions)


def shape_of(op: str, name: str, shape: Ints, groups: int = 1) -> Ints:
    """Return the shape that an array of an operation has in PyTorch."""
    *front, last = shape or (1,)
    if name == "w" and op == "convolve_transpose":
        return (front[-1] * groups, last // groups, *front[:-1])
    if name == "w":
        return (last, *front[-1:], *front[:-1])
    if name == "b":
        return (last, *front)
    return (front[0], last, *front[1:]) if len(shape) > 2 else shape


def padded(x: Tensor, padding: Pairs, value: float = 0.0) -> Tensor:
    """Surround the spatial axes with a value."""
    if not any(map(any, padding)):
        return x
    return functional.pad(x, [n for pair in reversed(padding) for n in pair], value=value)


def _bordered(x: Tensor, g: Geometry) -> Tensor:
    """Crop, or fill from the input, what the windows of ``g.bordered()`` do not pad themselves."""
    return _filled(x, g.border, g.fill)


def _filled(x: Tensor, edges: Pairs, fill: str) -> Tensor:
    if fill == ZEROS:
        return padded(x, edges)
    return functional.pad(x, [n for pair in reversed(edges) for n in pair], mode=fill.lower())


def _pad(x: Tensor, *, padding: Any, mode: str = ZEROS) -> Tensor:
    size = tuple(x.shape[2:])
    return _filled(x, pads(padding, size, size, size), mode.upper())


def _even(padding: Pairs) -> Ints | None:
    """Return one number per axis, which is all that PyTorch can be given, where they suffice."""
    return tuple(lo for lo, _ in padding) if all(lo == hi for lo, hi in padding) else None


def _biased(apply: Callable[[Tensor | None], Tensor], b: Tensor | None) -> Tensor:
    """Add a bias per channel within PyTorch's own operation, one per position after it."""
    if b is None or b.ndim == 1:
        return apply(b)
    return apply(None) + b


def correlate(
    x: Tensor, w: Tensor, b: Tensor | None = None, *,
    strides: Any = 1, padding: Any = "VALID", dilation: Any = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Correlate, as PyTorch's convolutions do."""
    g = place(tuple(x.shape[2:]), tuple(w.shape[2:]), strides, padding, dilation, groups)
    x, g = _bordered(x, g), g.bordered()
    function, within = _of_rank("conv", g.rank), _even(g.padding)
    x = padded(x, g.padding) if within is None else x
    return _biased(lambda b: function(x, w, b, g.strides, within or 0, g.dilation, groups), b)


def convolve_transpose(
    x: Tensor, w: Tensor, b: Tensor | None = None, *,
    strides: Any = 1, padding: Any = "VALID", dilation: Any = 1, groups: int = 1,
    output_padding: Any = 0,
) -> Tensor:  # fmt: skip
    """Add scaled copies of the kernel, and cut ``padding`` off."""
    size, window = tuple(x.shape[2:]), tuple(w.shape[2:])
    g = place_transposed(size, window, strides, padding, dilation, groups, output_padding)
    if g.fill != ZEROS:
        raise ValueError(f"it has no transposed convolution with padding {g.fill}")
    wider, g = [(-lo, -hi) for lo, hi in g.border], g.bordered()
    function, within = _of_rank("conv_transpose", g.rank), _even(g.padding)

    def apply(b: Tensor | None) -> Tensor:
        y = function(x, w, b, g.strides, within or 0, g.rest, groups, g.dilation)
        return y if within else y[(..., *(slice(lo, -hi or None) for lo, hi in g.padding))]

    if not any(map(any, wider)):
        return _biased(apply, b)
    y = padded(apply(None), wider)
    return y if b is None else y + b.reshape(-1, *(1,) * g.rank if b.ndim == 1 else b.shape[1:])


def _pool(kind: str) -> Callable[..., Tensor]:
    def pool(
        x: Tensor, window: Any, *, strides: Any = None, padding: Any = "VALID",
        ceil_mode: bool = False, count_include_pad: bool = True,
    ) -> Tensor:  # fmt: skip
        g = place_pool(tuple(x.shape[2:]), window, strides, padding, ceil_mode=ceil_mode)
        if kind == "average_pool" and (ceil_mode or not count_include_pad):
            within = _even(place_pool(tuple(x.shape[2:]), window, strides, padding).padding)
            if within is None or any(map(any, g.border)):
                raise ValueError(f"it has no average pool with padding {padding} that counts so")
            average = _of_rank("avg_pool", g.rank)
            return average(x, g.window, g.strides, within, ceil_mode, count_include_pad)
        x, g = _bordered(x, g), g.bordered()
        if kind in ("max_pool", "relu_max_pool"):
            within = _even(g.padding)
            x = padded(x, g.padding, -torch.inf) if within is None else x
            y = _of_rank("max_pool", g.rank)(x, g.window, g.strides, within or 0)
            return torch.relu(y) if kind == "relu_max_pool" else y
        x = padded(x * x if kind == "square_pool" else x, g.padding)
        y = _of_rank("avg_pool", g.rank)(x, g.window, g.strides)
        return y * prod(g.window) if kind == "square_pool" else y

    return pool


def _local_response_norm(x: Tensor, *, size=5, offset=2.0, scale=1e-4, power=0.75) -> Tensor:
    # PyTorch divides its alpha by the number of channels summed.
    return functional.local_response_norm(x, size, alpha=scale * size, beta=power, k=offset)


def _decimate(x: Tensor, *, factor: Any) -> Tensor:
    return x[(..., *(slice(None, None, f) for f in per_axis("factor", factor, x.ndim - 2)))]


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "correlate": correlate,
    "convolve": correlate,
    "convolve_transpose": convolve_transpose,
    "dense": lambda x, w, b=None: functional.linear(x, w, b),
    **{kind: _pool(kind) for kind in ("max_pool", "relu_max_pool", "average_pool", "square_pool")},
    "global_max_pool": lambda x: x.flatten(2).amax(2),
    "global_average_pool": lambda x: x.flatten(2).mean(2),
    "decimate": _decimate,
    "pad": _pad,
    "relu": torch.relu,
    "leaky_relu": lambda x, slope=0.01: functional.leaky_relu(x, slope),
    "prelu": lambda x, slope: functional.prelu(x, slope),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "scaled_tanh": lambda x: 1.7159 * torch.tanh(x * (2 / 3)),
    "gelu": functional.gelu,
    "softmax": lambda x: torch.softmax(x, 1),
    "batch_norm": lambda x, scale, offset: functional.batch_norm(
        x, None, None, scale, offset, training=True
    ),
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
