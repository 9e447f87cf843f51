"""The convolutions, pools and batch normalisation of Flax, computed with explicit gradients.

Each takes every option of Flax's own and gives its results, or refuses by name what it can't. The
layers are Flax's own by inheritance: parameters, their names and their initial values are the same.
Other normalisations have no explicit gradient: to import one from here says where to take it from.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from jcnn import ops
from jcnn.frameworks import check_precision, no_counterpart, no_model, pool, refuse
from jcnn.lax import conv_general_dilated, conv_transpose

try:
    from flax import linen, nnx
except ModuleNotFoundError as error:
    message = "jcnn.flax needs Flax: pip install 'jcnn[flax]'"
    raise ModuleNotFoundError(message, name=error.name) from None

Model = TypeVar("Model", bound=nnx.Module)
Transposed: TypeAlias = nnx.ConvTranspose | linen.ConvTranspose

__all__ = [
    "BatchNorm",
    "Conv",
    "ConvTranspose",
    "LinenConv",
    "LinenConvTranspose",
    "avg_pool",
    "max_pool",
    "min_pool",
    "swap",
]


class Conv(nnx.Conv):
    """``nnx.Conv`` with explicit gradients.

    Takes its options; refuses ``precision``, ``preferred_element_type`` and another
    ``conv_general_dilated`` than the one it replaces.

    >>> Conv(3, 8, (3, 3), padding="CIRCULAR", rngs=nnx.Rngs(0))(jnp.ones((2, 5, 5, 3))).shape
    (2, 5, 5, 8)
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _adopt_convolution(self)


def _adopt_convolution(layer: nnx.Conv) -> None:
    """Let the layer compute with jcnn, if its options allow it."""
    _check(layer)
    own = (lax.conv_general_dilated, conv_general_dilated)
    if layer.conv_general_dilated not in own:
        raise ValueError("Conv: conv_general_dilated is what jcnn replaces; leave it out")
    layer.conv_general_dilated = conv_general_dilated


def _check(layer: nnx.Conv | Transposed) -> None:
    name = type(layer).__name__
    check_precision(name, layer.precision)
    found = layer.preferred_element_type
    refuse(name, "set dtype", preferred_element_type=(found, None))


class ConvTranspose(nnx.ConvTranspose):
    """``nnx.ConvTranspose`` with explicit gradients.

    Takes its options; refuses ``precision`` and ``preferred_element_type``.

    >>> layer = ConvTranspose(3, 8, (4, 4), strides=2, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((2, 5, 5, 3))).shape
    (2, 10, 10, 8)
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _check(self)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Apply it to ``inputs`` (*batch, *size, C)."""
        kernel = _masked(self, self.kernel[...])
        bias = None if self.bias is None else self.bias[...]
        arrays = self.promote_dtype((inputs, kernel, bias), dtype=self.dtype)
        return _transposed(self, *arrays)


class LinenConvTranspose(linen.ConvTranspose):
    """``linen.ConvTranspose`` with explicit gradients.

    Takes its options; refuses ``precision`` and ``preferred_element_type``.

    >>> layer = LinenConvTranspose(8, (4, 4), strides=(2, 2))
    >>> layer.init_with_output(jax.random.key(0), jnp.ones((2, 5, 5, 3)))[0].shape
    (2, 10, 10, 8)
    """

    @linen.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Apply it to ``inputs`` (*batch, *size, C)."""
        _check(self)
        size, c = self.kernel_size, inputs.shape[-1]
        window = (size,) if isinstance(size, int) else tuple(size)
        ends = (self.features, c) if self.transpose_kernel else (c, self.features)
        kernel = self.param("kernel", self.kernel_init, (*window, *ends), self.param_dtype)
        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype)
        arrays = self.promote_dtype(inputs, _masked(self, kernel), bias, dtype=self.dtype)
        x, kernel, bias = arrays
        assert x is not None
        assert kernel is not None
        return _transposed(self, x, kernel, bias)


LinenConvTranspose.__name__ = linen.ConvTranspose.__name__  # parameters are named after it


def _masked(layer: Transposed, kernel: jax.Array) -> jax.Array:
    if layer.mask is None:
        return kernel
    refuse("ConvTranspose", "a mask has the kernel's shape",
           mask_shape=(layer.mask.shape, kernel.shape))  # fmt: skip
    return kernel * layer.mask


def _transposed(
    layer: Transposed, inputs: jax.Array, kernel: jax.Array, bias: jax.Array | None
) -> jax.Array:
    rank = kernel.ndim - 2
    batch = inputs.shape[: inputs.ndim - rank - 1]
    x = inputs.reshape(-1, *inputs.shape[len(batch) :]) if len(batch) != 1 else inputs
    strides, dilation = (_per_axis(a, rank) for a in (layer.strides, layer.kernel_dilation))
    circular = layer.padding == "CIRCULAR"
    padding = "VALID" if circular else _padding(layer.padding, rank)
    y = conv_transpose(
        x, kernel, strides, padding, dilation, transpose_kernel=layer.transpose_kernel
    )
    if circular:
        period = [n * s for n, s in zip(x.shape[1:-1], strides, strict=True)]
        y = _wrapped(y, period, odd_after=layer.transpose_kernel)
    if bias is not None:
        y = y + bias
    return y.reshape(*batch, *y.shape[1:])


def _per_axis(value: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    return (value or 1,) * rank if value is None or isinstance(value, int) else tuple(value)


def _padding(padding: Any, rank: int) -> Any:
    if isinstance(padding, str):
        return padding
    if isinstance(padding, int):
        return ((padding, padding),) * rank
    return tuple((p, p) if isinstance(p, int) else tuple(p) for p in padding)


def _wrapped(y: jax.Array, period: Sequence[int], *, odd_after: bool) -> jax.Array:
    """Add up what stands a period apart, each axis centred on the middle one."""
    for axis, (p, n) in enumerate(zip(period, y.shape[1:-1], strict=True), 1):
        missing = (p - n) % (2 * p)
        less, more = missing // 2, (missing + 1) // 2
        sides = [(0, 0)] * y.ndim
        sides[axis] = (less, more) if odd_after else (more, less)
        y = jnp.pad(y, sides)
        y = y.reshape(*y.shape[:axis], -1, p, *y.shape[axis + 1 :]).sum(axis)
    return y


class BatchNorm(nnx.BatchNorm):
    """``nnx.BatchNorm`` with an explicit gradient.

    Takes its options, ``use_fast_variance`` without effect: the variance is always that of the
    differences from the mean. Refuses ``axis_name``, ``axis_index_groups`` and ``mask``.

    >>> layer = BatchNorm(3, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((2, 5, 5, 3))).shape
    (2, 5, 5, 3)
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _check_statistics(self)

    def __call__(
        self,
        x: jax.Array,
        use_running_average: bool | None = None,
        *,
        mask: jax.Array | None = None,
    ) -> jax.Array:
        """Normalise ``x`` and, in training, update the running statistics."""
        if mask is not None:
            raise ValueError("BatchNorm: mask must be None; jcnn's statistics are of all elements")
        if use_running_average is None:
            use_running_average = self.use_running_average
        if use_running_average is None:
            raise ValueError("BatchNorm: use_running_average must be True or False, found None")
        params = [None if p is None else p[...] for p in (self.scale, self.bias)]
        x, mean, var, scale, bias = self.promote_dtype(
            (x, self.mean[...], self.var[...], *params), dtype=self.dtype
        )
        x = jnp.moveaxis(x, self.axis, -1)
        scale = jnp.ones(x.shape[-1], x.dtype) if scale is None else scale
        bias = jnp.zeros(x.shape[-1], x.dtype) if bias is None else bias
        if use_running_average:
            y = ops.batch_norm_inference(x, scale, bias, mean, var, epsilon=self.epsilon)
        else:
            y, mean, var = ops.batch_norm(x, scale, bias, epsilon=self.epsilon)
            self._update(mean, var)
        return jnp.moveaxis(y, -1, self.axis)

    def _update(self, mean: jax.Array, var: jax.Array) -> None:
        for kept, found in ((self.mean, mean), (self.var, var)):
            found = lax.stop_gradient(found).astype(kept.dtype)
            kept[...] = self.momentum * kept[...] + (1 - self.momentum) * found


def _check_statistics(layer: nnx.BatchNorm) -> None:
    why = "on a mesh, jit sees to it that statistics are of the whole batch"
    groups = layer.axis_index_groups
    refuse(type(layer).__name__, why, axis_name=(layer.axis_name, None),
           axis_index_groups=(groups, None))  # fmt: skip


def __getattr__(name: str) -> Any:
    no_counterpart(__name__, name, nnx, "nnx")


def max_pool(
    inputs: jax.Array,
    window_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID",
) -> jax.Array:
    """``nnx.max_pool`` with an explicit gradient; strides are 1 where not given.

    >>> max_pool(jnp.arange(4.0).reshape(1, 4, 1), (2,)).ravel()
    Array([1., 2., 3.], dtype=float32)
    """
    return pool(ops.max_pool, inputs, window_shape, strides, padding)


def min_pool(
    inputs: jax.Array,
    window_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID",
) -> jax.Array:
    """``nnx.min_pool`` with an explicit gradient: -max(-x)."""
    return -pool(ops.max_pool, -inputs, window_shape, strides, padding)


def avg_pool(
    inputs: jax.Array,
    window_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID",
    count_include_pad: bool = True,
) -> jax.Array:
    """``nnx.avg_pool`` with an explicit gradient; strides are 1 where not given."""
    counted = {"count_include_pad": count_include_pad}
    return pool(ops.average_pool, inputs, window_shape, strides, padding, **counted)


#: ``linen.Conv`` with explicit gradients: the same class, with jcnn's function in its own place for
#: one. Takes every option of its own but ``precision``.
LinenConv = functools.partial(linen.Conv, conv_general_dilated=conv_general_dilated)

_POOLS = {nnx.max_pool: max_pool, nnx.avg_pool: avg_pool, nnx.min_pool: min_pool}


def swap(model: Model) -> Model:
    """Return a copy of a model whose layers compute with explicit gradients.

    Replaced are ``nnx.Conv``, ``nnx.ConvTranspose`` and ``nnx.BatchNorm``, not classes derived from
    them, and Flax's pools where they are attributes (or entries of ``nnx.Sequential``), alone or
    in a ``functools.partial``. Pools that a model's own code calls by name are called as before:
    write :func:`max_pool` of this module for them.

    Args:
        model: Any ``nnx.Module``.

    Returns:
        A clone, with parameters of the same values under the same names.

    Raises:
        TypeError: It holds no ``nnx.Module``: a class, a model of Linen's.
        ValueError: A layer has an option that is not taken; its path is said.

    >>> model = nnx.Sequential(nnx.Conv(1, 4, (3, 3), rngs=nnx.Rngs(0)), nnx.relu)
    >>> type(swap(model).layers[0])
    <class 'jcnn.flax.Conv'>
    """
    if isinstance(model, type) or not list(nnx.iter_modules(model)):
        raise no_model("an nnx.Module", model)
    model = nnx.clone(model)
    for path, module in list(nnx.iter_modules(model)):
        try:
            _swap_layer(module)
        except ValueError as error:
            raise ValueError(f"{'.'.join(map(str, path))}: {error}") from None
        for name, value in list(vars(module).items()):
            if not name.startswith("_") and _swapped_pool(value) is not value:
                setattr(module, name, _swapped_pool(value))
    return model


def _swap_layer(module: nnx.Module) -> None:
    if type(module) is nnx.Conv:
        _adopt_convolution(module)
        module.__class__ = Conv
    elif type(module) is nnx.ConvTranspose:
        _check(module)
        module.__class__ = ConvTranspose
    elif type(module) is nnx.BatchNorm:
        _check_statistics(module)
        module.__class__ = BatchNorm


def _swapped_pool(value: Any) -> Any:
    if isinstance(value, functools.partial) and value.func in _POOLS:
        return functools.partial(_POOLS[value.func], *value.args, **value.keywords)
    try:
        return _POOLS.get(value, value)
    except TypeError:  # not hashable, and no pool
        return value
