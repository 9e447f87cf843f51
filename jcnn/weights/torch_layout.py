"""How PyTorch names and lays out a model's weights: what makes its weight files readable here.

PyTorch keeps channels first and correlates; jcnn keeps channels last and convolves. So, between
the two, a kernel's axes are exchanged and, unless the layer says ``correlate = true``, its spatial
axes are flipped; a dense layer behind ``flatten`` has its inputs put in another order, because
PyTorch flattens the channels slowest. Nothing is computed: every number is only moved.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from math import prod

import jax
import numpy as np

from jcnn.errors import UserError
from jcnn.layers import Conv, ConvTranspose, Dense, Layer, Model, PatchWhitening, Residual, Shape

Path = tuple[str, ...]
Row = tuple[str, Layer, Shape, Shape]

NAMES = {
    "w": "weight",
    "b": "bias",
    "slope": "weight",
    "scale": "weight",
    "offset": "bias",
    "mean": "running_mean",
    "variance": "running_var",
}


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
    >>> pooled = (Conv(features=4, window=3), ReluMaxPool(window=2))
    >>> model = Model((*pooled, Conv(features=8, window=3), Flatten(), Dense(features=10)))
    >>> [tensor.name for tensor in model_tensors(model, (12, 12, 1)) if "weight" in tensor.name]
    ['features.0.weight', 'features.3.weight', 'classifier.0.weight']
    """
    rows = list(model.walk(input_shape))
    if len(input_shape) == 1:
        return _along(rows, "classifier", (), input_shape)[0]
    cut = next((k for k, (*_, after) in enumerate(rows) if len(after) == 1), len(rows))
    rest = cut + 1
    if cut < len(rows) and isinstance(rows[cut][1], Residual):
        cut = rest  # a block that flattens within has weights of its own
    features, order = _along(rows[:cut], "features", (), input_shape)
    for _, layer, _, after in rows[cut:rest]:
        order = _order_after(layer, after, order)
    classifier, _ = _along(rows[rest:], "classifier", (), order)
    return features + classifier


def _along(
    rows: Iterable[Row], prefix: str, path: Path, order: Shape
) -> tuple[list[Tensor], Shape]:
    """Name the arrays of layers in a row.

    Args:
        rows: The layers.
        prefix: What their names begin with.
        path: The names of the residual blocks and branches that they are in.
        order: The shape, channels last, that their input has or, if it is flat, had before.

    Returns:
        The arrays, and the ``order`` of the output.
    """
    found: list[Tensor] = []
    number = 0
    for name, layer, before, after in rows:
        place, own = f"{prefix}.{number}", (*path, name)
        if isinstance(layer, Residual):
            inner, order = _within(layer, before, place, own, order)
            found += inner
        else:
            found += _own(layer, before, place, own, order)
            order = _order_after(layer, after, order)
        number += 2 if layer.type == "relu_max_pool" else 1
    return found, order


def _within(
    block: Residual, before: Shape, place: str, path: Path, order: Shape
) -> tuple[list[Tensor], Shape]:
    """Name the arrays of a residual block's branches."""
    found: list[Tensor] = []
    orders: list[Shape] = []
    for branch, inner in block.branches().items():
        rows = inner.walk(before)
        tensors, after = _along(rows, f"{place}.{branch}", (*path, branch), order)
        found += tensors
        orders.append(after)
    if orders[0] != orders[1]:
        raise _no_counterpart(path, "its two branches would have their values in two orders")
    return found, orders[0]


def _order_after(layer: Layer, after: Shape, order: Shape) -> Shape:
    """Follow the shape that a flat array had before it was flattened, as far as it matters."""
    if len(after) > 1:
        if layer.type == "reshape":
            raise _no_counterpart(
                (layer.name or layer.type,), "PyTorch would put its values into another order"
            )
        return after
    changes_nothing = layer.type in ("flatten", "reshape") or prod(order) == prod(after)
    kept = order if changes_nothing and layer.type != "dense" else after
    return kept if prod(kept[:-1]) > 1 else after


def _no_counterpart(path: Path, reason: str) -> UserError:
    return UserError(f"layer '{'.'.join(path)}' has no counterpart in PyTorch's files: {reason}")


def _own(layer: Layer, before: Shape, place: str, path: Path, order: Shape) -> list[Tensor]:
    """Name a layer's own arrays."""
    collections = jax.eval_shape(partial(layer.init, input_shape=before), jax.random.key(0))
    mixed = order if len(before) == 1 else before[-1:]
    found = []
    for collection, arrays in zip(("params", "state"), collections, strict=True):
        for key in sorted(arrays, key=list(NAMES).index):
            layout = layout_of(layer, key, arrays[key].shape, mixed)
            found.append(Tensor(f"{place}.{NAMES[key]}", (collection, *path, key), layout))
    return found


def layout_of(layer: Layer, key: str, shape: Shape, order: Shape) -> Layout:
    """Return how one of a layer's own arrays is moved.

    Args:
        layer: The layer.
        key: The array's name in it, such as "w".
        shape: The array's, in jcnn.
        order: The shape, channels last, that a flat input had before it was flattened; else its
            channels alone.
    """
    match layer, key:
        case PatchWhitening(), "w":
            return _kernel(shape, flip=False)
        case Conv(), "w":
            return _kernel(shape, flip=not layer.correlate)
        case ConvTranspose(), "w":
            return _transposed_kernel(shape, layer.groups)
        case Dense(), "w":
            return _matrix(shape, order)
        case ((Conv() | ConvTranspose() | Dense() | PatchWhitening()), _):
            return _channels_first(shape, shape)
    # One number per channel, or a value of a flattened input, which has its order.
    return _channels_first(shape, order)


def _channels_first(shape: Shape, split: Shape) -> Layout:
    """(…, channels) to (channels, …); a flat array stays flat."""
    last = len(split) - 1
    theirs = shape if len(shape) == 1 else (shape[-1], *shape[:-1])
    return Layout(shape, split, (last, *range(last)), (), theirs)


def _matrix(shape: Shape, order: Shape) -> Layout:
    """(inputs, features) to (features, inputs), the inputs flattened channels first."""
    last = len(order) - 1
    axes = (last + 1, last, *range(last))
    return Layout(shape, (*order, shape[1]), axes, (), (shape[1], shape[0]))


def _kernel(shape: Shape, *, flip: bool) -> Layout:
    """(*window, channels / groups, features) to (features, channels / groups, *window)."""
    *window, each, features = shape
    window_axes = tuple(range(len(window)))
    order = (len(window) + 1, len(window), *window_axes)
    return Layout(shape, shape, order, window_axes if flip else (), (features, each, *window))


def _transposed_kernel(shape: Shape, groups: int) -> Layout:
    """(*window, channels / groups, features) to (channels, features / groups, *window)."""
    *window, each, features = shape
    rank = len(window)
    split = (*window, each, groups, features // groups)
    order = (rank + 1, rank, rank + 2, *range(rank))
    return Layout(shape, split, order, (), (groups * each, features // groups, *window))
