"""An experiment's layers as PyTorch modules, channels first as PyTorch has them."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from jcnn import layers as ours
from jcnn.benchmark.torch.functions import (
    convolution,
    memory_format,
    padded,
    pool,
    transposed_convolution,
)
from jcnn.config import Experiment
from jcnn.geometry import pads
from jcnn.layers import Sequence, Shape
from jcnn.layers.window import explicit_padding, per_axis
from jcnn.losses import BinaryCrossEntropy, MeanSquaredError, SoftmaxCrossEntropy


def build_step(experiment: Experiment, layout: str, device: str) -> Callable[[], object]:
    """Return a function that does one training step on random examples."""
    if experiment.training.precision != "float32":
        raise ValueError("it is measured in float32 alone")
    torch.manual_seed(0)
    net: Any = _sequence(Sequence(experiment.layers), experiment.input_shape).to(device).train()
    size, (*space, channels) = experiment.training.batch_size, experiment.input_shape
    x = torch.randn(size, channels, *space, device=device)
    y = torch.randint(experiment.class_count, (size,), device=device)
    if layout != "contiguous" and memory_format(x.ndim):
        net, x = (a.to(memory_format=memory_format(x.ndim)) for a in (net, x))
    criterion, optimizer = _loss(experiment), _optimizer(experiment, net)
    if layout == "compiled":
        net = torch.compile(net)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = criterion(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


class Function(nn.Module):
    """A function of tensors alone."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        return self.function(x)


class Convolution(nn.Module):
    """``conv`` and ``conv_transpose``; kernel (D, C / groups, *window), not flipped."""

    def __init__(self, layer: ours.Conv | ours.ConvTranspose, input_shape: Shape) -> None:
        super().__init__()
        (*size, channels), rank = input_shape, len(input_shape) - 1
        *output, features = layer.output_shape(input_shape)
        window, strides, dilation = (
            per_axis(name, getattr(layer, name), tuple(size))
            for name in ("window", "strides", "dilation")
        )
        span = tuple(d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True))
        self.transposed = isinstance(layer, ours.ConvTranspose)
        # A transposed convolution pads as the convolution does whose input is its output.
        full = tuple(output if self.transposed else size)
        padding = pads(layer.padding, full, span, strides)
        self.options = (strides, padding, dilation, layer.groups)
        ends = (channels, features) if self.transposed else (features, channels)
        kernel = torch.randn(ends[0], ends[1] // layer.groups, *window)
        self.w = nn.Parameter(kernel / prod((*window, channels)) ** 0.5)
        per_position = {"none": None, "channel": (features, *(1,) * rank)}
        shape = per_position.get(layer.bias, (features, *output))
        self.b = None if shape is None else nn.Parameter(torch.zeros(shape))
        connections = getattr(layer, "connections", None)
        self.mask: Tensor | None
        self.register_buffer(
            "mask", None if connections is None else _mask(connections, channels, rank)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and add the bias, within PyTorch's own operation where it can."""
        w = self.w if self.mask is None else self.w * self.mask
        fused = None if self.b is None or self.b[0].numel() > 1 else self.b.flatten()
        function = transposed_convolution if self.transposed else convolution
        y = function(x, w, fused, *self.options)
        return y if fused is not None or self.b is None else y + self.b


def _mask(connections: tuple[tuple[int, ...], ...], channels: int, rank: int) -> Tensor:
    mask = torch.zeros(len(connections), channels)
    for plane, inputs in enumerate(connections):
        mask[plane, list(inputs)] = 1
    return mask.reshape(*mask.shape, *(1,) * rank)


class Residual(nn.Module):
    """The sum of two paths."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Add them."""
        return self.body(x) + self.shortcut(x)


def _sequence(sequence: Sequence, input_shape: Shape) -> nn.Sequential:
    return nn.Sequential(*(_module(layer, s) for _, layer, s, _ in sequence.walk(input_shape)))


def _module(layer: Any, shape: Shape) -> nn.Module:
    match layer.type:
        case "conv" | "conv_transpose":
            return Convolution(layer, shape)
        case "dense":
            return nn.Linear(shape[0], layer.features, bias=layer.bias)
        case "prelu":
            return nn.PReLU(shape[-1], init=layer.slope)
        case "dropout":
            return nn.Dropout(layer.drop_rate)
        case "batch_norm":
            return _batch_norm(layer, shape)
        case "local_response_norm":
            # PyTorch divides its alpha by the number of channels summed.
            return nn.LocalResponseNorm(
                layer.size, layer.scale * layer.size, layer.power, layer.offset
            )
        case "patch_whitening":
            module = Convolution(layer.convolution(shape), shape)
            module.w.requires_grad_(False)
            return module
        case "residual":
            return Residual(*(_sequence(path, shape) for path in layer.branches().values()))
    return Function(_function(layer, shape))


def _batch_norm(layer: ours.BatchNorm, shape: Shape) -> nn.Module:
    kinds = {1: nn.BatchNorm1d, 2: nn.BatchNorm1d, 3: nn.BatchNorm2d, 4: nn.BatchNorm3d}
    return kinds[len(shape)](shape[-1], eps=layer.epsilon, momentum=1 - layer.momentum)


_POINTWISE: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "scaled_tanh": lambda x: 1.7159 * torch.tanh(x * (2 / 3)),
    "softmax": lambda x: torch.softmax(x, 1),
    "flatten": lambda x: x.flatten(1),
    "global_max_pool": lambda x: x.flatten(2).amax(2),
    "global_average_pool": lambda x: x.flatten(2).mean(2),
}


def _function(layer: Any, shape: Shape) -> Callable[[Tensor], Tensor]:
    if layer.type in _POINTWISE:
        return _POINTWISE[layer.type]
    match layer.type:
        case "leaky_relu":
            return lambda x: functional.leaky_relu(x, layer.slope)
        case "max_pool" | "relu_max_pool" | "average_pool" | "square_pool":
            return _window_pool(layer, shape)
        case "decimate":
            factors = per_axis("factor", layer.factor, shape[:-1])
            return lambda x: x[(..., *(slice(None, None, f) for f in factors))]
        case "pad":
            pairs = explicit_padding(layer.padding, shape[:-1])
            return lambda x: padded(x, pairs, layer.value)
        case "reshape":
            *space, channels = layer.shape
            return lambda x: x.reshape(x.shape[0], channels, *space)
    raise ValueError(f"it has no counterpart of the layer '{layer.type}'")


def _window_pool(layer: Any, shape: Shape) -> Callable[[Tensor], Tensor]:
    size = shape[:-1]
    window = per_axis("window", layer.window, size)
    strides = window if layer.strides is None else per_axis("strides", layer.strides, size)
    padding = pads(layer.padding, size, window, strides)
    return lambda x: pool(layer.type, x, window, strides, padding)


def _loss(experiment: Experiment) -> Callable[[Tensor, Tensor], Tensor]:
    loss, classes = experiment.loss, experiment.class_count
    match loss:
        case SoftmaxCrossEntropy():
            return lambda out, y: functional.cross_entropy(
                out / loss.temperature, y, label_smoothing=loss.label_smoothing
            )
        case MeanSquaredError():
            off, on = loss.targets
            return lambda out, y: functional.mse_loss(
                out, off + (on - off) * functional.one_hot(y, classes).float()
            )
        case BinaryCrossEntropy():
            return lambda out, y: functional.binary_cross_entropy_with_logits(
                out, (y[:, None] if out.shape[1] == 1 else functional.one_hot(y, classes)).float()
            )


def _optimizer(experiment: Experiment, net: nn.Module) -> torch.optim.Optimizer:
    chosen, parameters = experiment.optimizer, list(net.parameters())
    given = chosen.arguments
    # The rate changes no timing; a small one keeps the numbers finite.
    match chosen.name:
        case "sgd" | "momentum":
            momentum, nesterov = given.get("momentum") or 0.0, bool(given.get("nesterov"))
            return torch.optim.SGD(parameters, lr=1e-3, momentum=momentum, nesterov=nesterov)
        case "adam":
            return torch.optim.Adam(parameters, lr=1e-3)
        case "adamw":
            return torch.optim.AdamW(parameters, lr=1e-3)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, lr=1e-3)
    raise ValueError(f"it has no counterpart of the optimizer '{chosen.name}'")
