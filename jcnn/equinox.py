"""The convolutions and pools of Equinox, computed with explicit gradients.

Each takes every option of Equinox's own and gives its results, or refuses by name what it can't.
The layers are Equinox's own by inheritance: fields, their names and initial values are the same.
They take one example, channels first, as Equinox's do, and ``jax.vmap`` the batch.
Normalisations have no explicit gradient here: to import one says where to take it from.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from jcnn import ops
from jcnn.frameworks import no_counterpart, no_model
from jcnn.lax import conv_general_dilated

try:
    import equinox as eqx
except ModuleNotFoundError as error:
    message = "jcnn.equinox needs Equinox: pip install 'jcnn[equinox]'"
    raise ModuleNotFoundError(message, name=error.name) from None

Model = TypeVar("Model")

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "Conv",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "swap",
]


class _Convolves:
    """What ``Conv`` of any number of axes does."""

    def __call__(self: Any, x: jax.Array, *, key: Any = None) -> jax.Array:
        """Apply it to ``x`` (in_channels, *size)."""
        _check_rank(self, x)
        padding = self.padding
        if self.padding_mode != "ZEROS":
            x = self._pad(x)
            padding = "VALID"
        y = conv_general_dilated(
            x[None],
            self.weight,
            self.stride,
            padding,
            rhs_dilation=self.dilation,
            feature_group_count=self.groups,
        )[0]
        return y + self.bias if self.use_bias else y

    def _pad(self: Any, x: jax.Array) -> jax.Array:
        padding = self.padding
        if isinstance(padding, str):
            whole = zip(self.kernel_size, self.dilation, strict=True)
            span = [d * (k - 1) + 1 for k, d in whole]
            padding = lax.padtype_to_pads(x.shape[1:], span, self.stride, padding)
        return _channels_last(lambda x: ops.pad(x, padding, mode=self.padding_mode), x)


class _ConvolvesTransposed:
    """What ``ConvTranspose`` of any number of axes does."""

    def __call__(self: Any, x: jax.Array, *, key: Any = None) -> jax.Array:
        """Apply it to ``x`` (in_channels, *size)."""
        _check_rank(self, x)
        around = self._padding_transpose()
        if self.padding_mode == "CIRCULAR":
            x, around = self._circular_pad(x, around)
        y = conv_general_dilated(
            x[None],
            self.weight,
            (1,) * self.num_spatial_dims,
            around,
            lhs_dilation=self.stride,
            rhs_dilation=self.dilation,
            feature_group_count=self.groups,
        )[0]
        return y + self.bias if self.use_bias else y


def _check_rank(layer: Any, x: jax.Array) -> None:
    if x.ndim != layer.num_spatial_dims + 1:
        raise ValueError(
            f"{type(layer).__name__}: x must have {layer.num_spatial_dims + 1} axes, (C, *size), "
            f"found shape {x.shape}; jax.vmap the batch"
        )


def _channels_last(operation: Any, x: jax.Array) -> jax.Array:
    """Apply an operation of whole batches to one example, channels first."""
    return jnp.moveaxis(operation(jnp.moveaxis(x, 0, -1)[None])[0], -1, 0)


class _Pools:
    """What pools of any number of axes do; each names its operation."""

    def __call__(self: Any, x: jax.Array, *, key: Any = None) -> jax.Array:
        """Apply it to ``x`` (channels, *size)."""
        _check_rank(self, x)
        padding = self.padding
        if self.use_ceil:  # Equinox pads a whole stride for the last window: here, what it reaches
            whole = zip(x.shape[1:], self.kernel_size, self.stride, padding, strict=True)
            padding = [(lo, hi + -(n + lo + hi - k) % s) for n, k, s, (lo, hi) in whole]
        operation = getattr(ops, self._operation)
        return _channels_last(
            lambda x: operation(x, self.kernel_size, strides=self.stride, padding=padding), x
        )


class _MaxPools(_Pools):
    _operation = "max_pool"


class _AveragePools(_Pools):
    _operation = "average_pool"


class Conv(_Convolves, eqx.nn.Conv):
    """``eqx.nn.Conv`` with explicit gradients.

    >>> layer = Conv(2, 3, 8, 3, padding="SAME", padding_mode="REFLECT", key=jax.random.key(0))
    >>> layer(jnp.ones((3, 5, 5))).shape
    (8, 5, 5)
    """


class Conv1d(_Convolves, eqx.nn.Conv1d):
    """``eqx.nn.Conv1d`` with explicit gradients."""


class Conv2d(_Convolves, eqx.nn.Conv2d):
    """``eqx.nn.Conv2d`` with explicit gradients."""


class Conv3d(_Convolves, eqx.nn.Conv3d):
    """``eqx.nn.Conv3d`` with explicit gradients."""


class ConvTranspose(_ConvolvesTransposed, eqx.nn.ConvTranspose):
    """``eqx.nn.ConvTranspose`` with explicit gradients.

    >>> layer = ConvTranspose(1, 3, 8, 3, stride=2, output_padding=1, key=jax.random.key(0))
    >>> layer(jnp.ones((3, 5))).shape
    (8, 12)
    """


class ConvTranspose1d(_ConvolvesTransposed, eqx.nn.ConvTranspose1d):
    """``eqx.nn.ConvTranspose1d`` with explicit gradients."""


class ConvTranspose2d(_ConvolvesTransposed, eqx.nn.ConvTranspose2d):
    """``eqx.nn.ConvTranspose2d`` with explicit gradients."""


class ConvTranspose3d(_ConvolvesTransposed, eqx.nn.ConvTranspose3d):
    """``eqx.nn.ConvTranspose3d`` with explicit gradients."""


class MaxPool1d(_MaxPools, eqx.nn.MaxPool1d):
    """``eqx.nn.MaxPool1d`` with an explicit gradient."""


class MaxPool2d(_MaxPools, eqx.nn.MaxPool2d):
    """``eqx.nn.MaxPool2d`` with an explicit gradient.

    >>> MaxPool2d(2, stride=2, use_ceil=True)(jnp.ones((3, 5, 5))).shape
    (3, 3, 3)
    """


class MaxPool3d(_MaxPools, eqx.nn.MaxPool3d):
    """``eqx.nn.MaxPool3d`` with an explicit gradient."""


class AvgPool1d(_AveragePools, eqx.nn.AvgPool1d):
    """``eqx.nn.AvgPool1d`` with an explicit gradient."""


class AvgPool2d(_AveragePools, eqx.nn.AvgPool2d):
    """``eqx.nn.AvgPool2d`` with an explicit gradient."""


class AvgPool3d(_AveragePools, eqx.nn.AvgPool3d):
    """``eqx.nn.AvgPool3d`` with an explicit gradient."""


class _AdaptivePools:
    """Pools of a target's shape: of windows of one size, where it divides the input's."""

    def __call__(self: Any, x: jax.Array, *, key: Any = None) -> jax.Array:
        """Apply it to ``x`` (channels, *size)."""
        size, target = x.shape[1:], self.target_shape
        if len(size) != len(target) or any(n % t for n, t in zip(size, target, strict=True)):
            return super().__call__(x, key=key)  # type: ignore[misc]  # Equinox's own
        window = tuple(n // t for n, t in zip(size, target, strict=True))
        return _channels_last(lambda x: getattr(ops, self._operation)(x, window), x)


class _AdaptiveMaxPools(_AdaptivePools):
    _operation = "max_pool"


class _AdaptiveAveragePools(_AdaptivePools):
    _operation = "average_pool"


class AdaptiveMaxPool1d(_AdaptiveMaxPools, eqx.nn.AdaptiveMaxPool1d):
    """``eqx.nn.AdaptiveMaxPool1d`` with an explicit gradient; a tie's goes to the first."""


class AdaptiveMaxPool2d(_AdaptiveMaxPools, eqx.nn.AdaptiveMaxPool2d):
    """``eqx.nn.AdaptiveMaxPool2d`` with an explicit gradient; a tie's goes to the first."""


class AdaptiveMaxPool3d(_AdaptiveMaxPools, eqx.nn.AdaptiveMaxPool3d):
    """``eqx.nn.AdaptiveMaxPool3d`` with an explicit gradient; a tie's goes to the first."""


class AdaptiveAvgPool1d(_AdaptiveAveragePools, eqx.nn.AdaptiveAvgPool1d):
    """``eqx.nn.AdaptiveAvgPool1d`` with an explicit gradient."""


class AdaptiveAvgPool2d(_AdaptiveAveragePools, eqx.nn.AdaptiveAvgPool2d):
    """``eqx.nn.AdaptiveAvgPool2d`` with an explicit gradient.

    >>> AdaptiveAvgPool2d(2)(jnp.ones((3, 6, 6))).shape
    (3, 2, 2)
    """


class AdaptiveAvgPool3d(_AdaptiveAveragePools, eqx.nn.AdaptiveAvgPool3d):
    """``eqx.nn.AdaptiveAvgPool3d`` with an explicit gradient."""


def __getattr__(name: str) -> Any:
    no_counterpart(__name__, name, eqx.nn, "eqx.nn")


_LAYERS = {getattr(eqx.nn, name): globals()[name] for name in __all__ if hasattr(eqx.nn, name)}


def swap(model: Model) -> Model:
    """Return a model whose convolutions and pools compute with explicit gradients.

    Replaced are Equinox's own layers of this module's names, not classes derived from them.
    ``eqx.nn.BatchNorm``, whose statistics are a mean over ``jax.vmap``'s axis, stays as it is.

    Args:
        model: Any tree of Equinox modules.

    Returns:
        The same tree, its arrays the same arrays.

    Raises:
        TypeError: It holds no ``eqx.Module``: a class, an array.

    >>> model = eqx.nn.Sequential([eqx.nn.Conv2d(1, 4, 3, key=jax.random.key(0))])
    >>> type(swap(model).layers[0])
    <class 'jcnn.equinox.Conv2d'>
    """
    nodes = jax.tree.leaves(model, is_leaf=lambda node: isinstance(node, eqx.Module))
    if not any(isinstance(node, eqx.Module) for node in nodes):
        raise no_model("an eqx.Module", model)
    return jax.tree.map(_swapped, model, is_leaf=lambda node: type(node) in _LAYERS)


def _swapped(node: Any) -> Any:
    if type(node) not in _LAYERS:
        return node
    layer = object.__new__(_LAYERS[type(node)])
    for field in dataclasses.fields(node):
        object.__setattr__(layer, field.name, getattr(node, field.name))
    return layer
