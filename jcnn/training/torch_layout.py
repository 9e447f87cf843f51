"""How PyTorch names and lays out a model's weights: what makes its weight files readable here.

PyTorch keeps channels first and correlates; jcnn keeps channels last and convolves. So, between
the two, a kernel's axes are exchanged and, unless the layer says ``correlate = true``, its spatial
axes are flipped; a dense layer behind ``flatten`` has its inputs put in another order, because
PyTorch flattens the channels slowest. Nothing is computed: every number is only moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from jcnn.errors import UserError
from jcnn.layers import BatchNorm, Conv, ConvTranspose, Dense, Layer, Prelu, Residual, Shape
from jcnn.model import Model

Path = tuple[str, ...]
Row = tuple[str, Layer, Shape, Shape]


@dataclass(frozen=True)
class Layout:
    """A permutation of numbers: see the array as ``split``, flip axes, reorder axes, reshape.

    Attributes:
        ours: The array's shape in jcnn.
        split: The same numbers in the same order, an axis for everything that moves by itself.
        order: The axes of ``split`` as PyTorch has them.
        flipped: The axes of ``split`` that run backwards in PyTorch.
        theirs: The array's shape in PyTorch.
    """

    ours: Shape
    split: Shape
    order: tuple[int, ...]
    flipped: tuple[int, ...]
    theirs: Shape

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """Bring an array of jcnn's into PyTorch's layout."""
        moved = np.flip(array.reshape(self.split), self.flipped).transpose(self.order)
        return np.ascontiguousarray(moved).reshape(self.theirs)

    def from_torch(self, array: np.ndarray) -> np.ndarray:
        """Bring an array of PyTorch's into jcnn's layout."""
        permuted = array.reshape([self.split[axis] for axis in self.order])
        moved = np.flip(permuted.transpose(np.argsort(self.order)), self.flipped)
        return np.ascontiguousarray(moved).reshape(self.ours)


@dataclass(frozen=True)
class Tensor:
    """One array of a model: PyTorch's name, where jcnn keeps it, and the way between the two.

    Attributes:
        name: For example ``"features.0.weight"``.
        path: For example ``("params", "conv_1", "w")``; it begins with "params" or "state".
        layout: How its numbers are moved.
    """

    name: str
    path: Path
    layout: Layout


def model_tensors(model: Model, input_shape: Shape) -> list[Tensor]:
    """List a model's arrays under the names that torchvision's AlexNet and VGG give them.

    The layers before the first flat output are ``features.0``, ``features.1``, …, those after it
    ``classifier.0``, …; the layer between them (``flatten``, or a global pool) has no number, and
    ``relu_max_pool`` has two, since PyTorch needs two modules for it.

    Raises:
        UserError: A layer has no counterpart whose weights could be named.

    >>> from jcnn.layers import Conv, Dense, Flatten, ReluMaxPool
    >>> convolutional = (Conv(features=4, window=3), ReluMaxPool(window=2), Conv(features=8, window=3))
    >>> model = Model((*convolutional, Flatten(), Dense(features=10)))
    >>> [tensor.name for tensor in model_tensors(model, (12, 12, 1)) if "weight" in tensor.name]
    ['features.0.weight', 'features.2.weight', 'classifier.0.weight']
    """
    rows = list(model.walk(input_shape))
    flat = next((k for k, (*_, before, after) in enumerate(rows) if _flattens(before, after)), None)
    if flat is None:
        section = "classifier" if len(input_shape) == 1 else "features"
        return list(_tensors(rows, section, (), input_shape))
    shape = rows[flat][2]
    kept = shape if rows[flat][1].type in ("flatten", "reshape") else rows[flat][3]
    return [
        *_tensors(rows[:flat], "features", (), input_shape),
        *_tensors(rows[flat + 1 :], "classifier", (), kept),
    ]


def _flattens(before: Shape, after: Shape) -> bool:
    return len(before) > 1 and len(after) == 1


def _tensors(rows: Iterable[Row], prefix: str, path: Path, order: Shape) -> Iterator[Tensor]:
    """Walk along layers; ``order`` is the shape, channels last, that a flat input had before."""
    number = 0
    for name, layer, before, after in rows:
        here = prefix, number
        number += 2 if layer.type == "relu_max_pool" else 1
        if layer.type == "reshape" and len(after) > 1:
            raise UserError(
                f"layer '{name}' (reshape): PyTorch would put the values into another order, so "
                "the weights of a model that has it can't be named as PyTorch's"
            )
        if len(before) > 1 or prod(before) != prod(order):
            order = before
        place = f"{here[0]}.{here[1]}"
        if isinstance(layer, Residual):
            for branch, inner in layer.branches().items():
                nested = (*path, name, branch)
                yield from _tensors(inner.walk(before), f"{place}.{branch}", nested, order)
        else:
            for theirs, (collection, *ours), layout in _arrays(name, layer, before, order):
                own = (collection, *path, name, *ours)
                yield Tensor(f"{place}.{theirs}", own, layout)
        if layer.type == "dense":
            order = after


def _arrays(
    name: str, layer: Layer, before: Shape, order: Shape
) -> Iterator[tuple[str, Path, Layout]]:
    """Yield (PyTorch's name, path, layout) of a layer's own arrays."""
    # A vector of one number a channel, or a value of a flattened input, which has its order.
    each = _channels_first(order) if len(before) == 1 else _same(before[-1:])
    match layer:
        case Conv():
            yield "weight", ("params", "w"), _kernel(layer, before)
            yield from _bias(layer.bias, layer, before)
        case ConvTranspose():
            yield "weight", ("params", "w"), _transposed_kernel(layer, before)
            yield from _bias(layer.bias, layer, before)
        case Dense():
            yield "weight", ("params", "w"), _matrix(order, layer.features)
            if layer.bias:
                yield "bias", ("params", "b"), _same((layer.features,))
        case BatchNorm():
            yield "weight", ("params", "scale"), each
            yield "bias", ("params", "offset"), each
            yield "running_mean", ("state", "mean"), each
            yield "running_var", ("state", "variance"), each
        case Prelu():
            yield "weight", ("params", "slope"), each
        case _ if layer.cost(before).parameters:
            raise UserError(f"layer '{name}' ({layer.type}): its weights have no name in PyTorch")


def _bias(kind: str, layer: Conv | ConvTranspose, before: Shape) -> Iterator[tuple[Any, ...]]:
    if kind == "channel":
        yield "bias", ("params", "b"), _same((layer.features,))
    elif kind == "position":
        shape = layer.output_shape(before)
        order = (len(shape) - 1, *range(len(shape) - 1))
        theirs = (shape[-1], *shape[:-1])
        yield "bias", ("params", "b"), Layout(shape, shape, order, (), theirs)


def _same(shape: Shape) -> Layout:
    return Layout(shape, shape, tuple(range(len(shape))), (), shape)


def _channels_first(order: Shape) -> Layout:
    rank, size = len(order), (prod(order),)
    return Layout(size, order, (rank - 1, *range(rank - 1)), (), size)


def _matrix(order: Shape, features: int) -> Layout:
    """(inputs, features) to (features, inputs), the inputs flattened channels first."""
    rank, inputs = len(order), prod(order)
    axes = (rank, rank - 1, *range(rank - 1))
    return Layout((inputs, features), (*order, features), axes, (), (features, inputs))


def _kernel(layer: Conv, before: Shape) -> Layout:
    """(*window, channels / groups, features) to (features, channels / groups, *window)."""
    shape = layer.kernel_shape(before)
    rank = len(shape) - 2
    flipped = () if layer.correlate else tuple(range(rank))
    return Layout(
        shape, shape, (rank + 1, rank, *range(rank)), flipped, (*shape[:-3:-1], *shape[:rank])
    )


def _transposed_kernel(layer: ConvTranspose, before: Shape) -> Layout:
    """(*window, channels / groups, features) to (channels, features / groups, *window)."""
    *window, each, features = layer.kernel_shape(before)
    groups, rank = layer.groups, len(window)
    split = (*window, each, groups, features // groups)
    return Layout(
        (*window, each, features),
        split,
        (rank + 1, rank, rank + 2, *range(rank)),
        (),
        (groups * each, features // groups, *window),
    )
