"""An experiment's training step in PyTorch: what each layer calls of jcnn, called there."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import torch
from torch import Tensor, nn
from torch.nn import functional

from jcnn.benchmark.plan import recorded
from jcnn.benchmark.torch.functions import FUNCTIONS, memory_format, padded, shape_of
from jcnn.benchmark.torch.optimizer import build_optimizer
from jcnn.config import Experiment
from jcnn.fields import Shape
from jcnn.layers import Sequence
from jcnn.layers.window import explicit_padding
from jcnn.losses import BinaryCrossEntropy, MeanSquaredError, SoftmaxCrossEntropy
from jcnn.proof.recording import Call


def build_step(experiment: Experiment, layout: str, device: str) -> Callable[[], object]:
    """Return a function that does one training step on random examples."""
    if experiment.training.precision != "float32":
        raise ValueError("it is measured in float32 alone")
    products = _products(experiment.training.matmul_precision, device)
    torch.manual_seed(0)
    net: Any = network(experiment.model, experiment.input_shape, experiment.frozen).to(device)
    size, (*space, channels) = experiment.training.batch_size, experiment.input_shape
    x = torch.randn(size, channels, *space, device=device)
    y = torch.randint(experiment.class_count, (size,), device=device)
    if layout != "contiguous" and memory_format(x.ndim):
        net, x = (a.to(memory_format=memory_format(x.ndim)) for a in (net, x))
    criterion, optimizer = _loss(experiment), build_optimizer(experiment, net)
    if layout == "compiled":
        net = torch.compile(net)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        with products:
            output = net(x)
        loss = criterion(output.float(), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def _products(precision: str | None, device: str) -> AbstractContextManager[object]:
    """Let PyTorch round the factors of products as asked; in bfloat16 it rounds results too."""
    if precision == "bfloat16" and device == "cpu":
        return torch.autocast("cpu", torch.bfloat16)
    if device == "cuda" and precision in ("float32", "tensorfloat32"):
        allow_tf32(precision == "tensorfloat32")
    elif precision not in (None, "float32"):
        raise ValueError(f"its products are not measured in {precision} there")
    return nullcontext()


def allow_tf32(allowed: bool) -> None:
    """Let products on a GPU round their factors to TF32 from now on, or not."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed


def network(sequence: Sequence, input_shape: Shape, frozen: Collection[str] = ()) -> nn.Sequential:
    """Return the network of jcnn's layers, with parameters of its own.

    Args:
        sequence: The layers.
        input_shape: Shape of one example's input, channels last.
        frozen: Names of those that do not learn, and are applied as in evaluation.
    """
    walk = sequence.walk(input_shape)
    modules = {name: _module(layer, shape) for name, layer, shape, _ in walk}
    for name in frozen:
        modules[name].eval().requires_grad_(False)
    return nn.Sequential(*modules.values())


class Function(nn.Module):
    """A function of its input and of its parameters."""

    def __init__(self, function: Callable[..., Tensor], **parameters: Tensor) -> None:
        super().__init__()
        self.function = function
        for name, value in parameters.items():
            self.register_parameter(name, nn.Parameter(value))

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        return self.function(x, **dict(self.named_parameters()))


class Residual(nn.Module):
    """The sum of two paths."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Add them."""
        return self.body(x) + self.shortcut(x)


def _module(layer: Any, shape: Shape) -> nn.Module:
    match layer.type:
        case "residual":
            return Residual(*(network(path, shape) for path in layer.branches().values()))
        case "batch_norm":
            kinds = {1: nn.BatchNorm1d, 2: nn.BatchNorm1d, 3: nn.BatchNorm2d, 4: nn.BatchNorm3d}
            return kinds[len(shape)](shape[-1], eps=layer.epsilon, momentum=1 - layer.momentum)
        case "dropout" if layer.drop_rate:
            return nn.Dropout(layer.drop_rate)
        case "flatten":
            return nn.Flatten()
        case "reshape":
            *space, channels = layer.shape
            return Function(lambda x: x.reshape(x.shape[0], channels, *space))
        case "pad" if layer.mode == "constant":
            pairs = explicit_padding(layer.padding, shape[:-1])
            return Function(lambda x: padded(x, pairs, layer.value))
    calls = recorded(layer, jax.ShapeDtypeStruct((1, *shape), "float32"))
    return nn.Sequential(*(_called(layer, call, shape) for call in calls))


def _called(layer: Any, call: Call, input_shape: Shape) -> Function:
    """The operation that a layer calls, on parameters of PyTorch's shapes."""
    if call.op not in FUNCTIONS:
        raise ValueError(f"it has no counterpart of the layer '{layer.type}'")
    options: dict[str, Any] = dict(call.statics)
    parameters = {}
    for name, shape, dtype in call.arrays[1:]:
        if not dtype.startswith("key"):
            theirs = shape_of(call.op, name, shape, options.get("groups", 1))
            parameters[name] = torch.full(theirs, 0.25 if name == "slope" else 0.0)
    if "w" in parameters:
        w = parameters["w"].normal_()
        w /= w[0].numel() ** 0.5
    function = _masked(layer, input_shape[-1], FUNCTIONS[call.op])
    module = Function(lambda x, **given: function(x, **given, **options), **parameters)
    if layer.needs_sample:
        module.get_parameter("w").requires_grad_(False)
    return module


def _masked(layer: Any, channels: int, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Leave out the weights that a connection table leaves out, as jcnn does at every step."""
    if getattr(layer, "connections", None) is None:
        return function
    mask = torch.zeros(layer.features, channels)
    for plane, inputs in enumerate(layer.connections):
        mask[plane, list(inputs)] = 1

    def masked(x: Tensor, w: Tensor, **options: Any) -> Tensor:
        spread = mask.to(w.device).reshape(*mask.shape, *(1,) * (w.ndim - 2))
        return function(x, w * spread, **options)

    return masked


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
