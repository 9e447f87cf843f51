"""The convolutions of :mod:`jax.lax` and pools over any batch axes, with explicit gradients.

What the layers of other frameworks call, with the arguments that they are called with; see
:mod:`jcnn.flax` and :mod:`jcnn.equinox`. An option that is not taken is refused by its name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
from jax import lax

from jcnn import ops
from jcnn.axes import is_single, pads, per_axis
from jcnn.ops.arguments import naming

# For users; the other names are what jcnn.flax and jcnn.equinox share.
__all__ = ["conv_general_dilated", "conv_transpose"]

Pairs = Sequence[tuple[int, int]]


def refuse(where: str, why: str, **options: tuple[Any, Any]) -> None:
    """Refuse options that are not what is taken.

    Args:
        where: The function or layer.
        why: What to do instead.
        **options: The option's value, and the value that is taken, by name.

    Raises:
        ValueError: An option has another value.
    """
    for name, (value, taken) in options.items():
        if value is not taken and value != taken:
            raise ValueError(f"{where}: {name} must be {taken!r}, found {value!r}; {why}")


def no_counterpart(module: str, name: str, framework: Any, called: str) -> NoReturn:
    """Answer for a name that a module of layers lacks: from its ``__getattr__``.

    Raises:
        ImportError: The framework has such a layer.
        AttributeError: Nobody has.
    """
    if name.startswith("_") or not hasattr(framework, name):
        raise AttributeError(f"module '{module}' has no attribute '{name}'")
    raise ImportError(
        f"{module} has no {name}: expected one of {', '.join(sys.modules[module].__all__)}; "
        f"take {called}.{name}, which swap leaves in its place",
        name=module,
    )


def no_model(expected: str, found: Any) -> TypeError:
    """Say that what was to be swapped holds no layer of the library, as a class does not."""
    kind = type(found).__name__
    if isinstance(found, type):
        kind = f"the class {found.__name__}; make one of it first"
    return TypeError(f"expected {expected}, found {kind}")


def check_precision(where: str, precision: Any) -> None:
    """Refuse a precision of one call: its gradients are traced later, without it."""
    if precision not in (None, lax.Precision.DEFAULT, "default"):
        raise ValueError(
            f"{where}: precision must be None, found {precision!r}; set it for the program, "
            "with jax.default_matmul_precision"
        )


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Pairs,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> jax.Array:
    """Convolve as :func:`jax.lax.conv_general_dilated` does, through explicit gradients.

    Args:
        lhs: Image, floating point, its axes in any order.
        rhs: Kernel of the same dtype, its axes in any order.
        window_strides: Step between neighbouring outputs.
        padding: "VALID", "SAME", "SAME_LOWER" or pairs (before, after); negative ones crop. With
            ``lhs_dilation`` pairs alone.
        lhs_dilation: Step between neighbouring elements of the image, zeros between them.
        rhs_dilation: Step between neighbouring elements of the kernel.
        dimension_numbers: Where the axes stand; channels first, as ``jax.lax`` has it, if None.
        feature_group_count: Groups of channels that don't see each other.
        batch_group_count: 1.
        precision: None; see :func:`jax.default_matmul_precision`.
        preferred_element_type: None, or the arrays' dtype.
        out_sharding: None: the result is sharded as the image's batch and the kernel's features.

    Returns:
        The image, its axes as ``dimension_numbers`` says.

    Raises:
        TypeError: An array is not floating point, or dtypes differ.
        ValueError: Shapes don't fit, or an option is not taken.

    >>> x, w = jnp.ones((1, 3, 8)), jnp.ones((2, 3, 5))
    >>> conv_general_dilated(x, w, (1,), "VALID").shape
    (1, 2, 4)
    """
    where = "conv_general_dilated"
    check_precision(where, precision)
    refuse(where, "group features", batch_group_count=(batch_group_count, 1))
    refuse(where, "the result is sharded as its arguments", out_sharding=(out_sharding, None))
    if preferred_element_type not in (None, lhs.dtype):
        refuse(where, "cast before", preferred_element_type=(preferred_element_type, lhs.dtype))
    lhs_spec, rhs_spec, out_spec = lax.conv_dimension_numbers(
        lhs.shape, rhs.shape, dimension_numbers
    )
    x = jnp.transpose(lhs, (lhs_spec[0], *lhs_spec[2:], lhs_spec[1]))
    w = jnp.transpose(rhs, (*rhs_spec[2:], rhs_spec[1], rhs_spec[0]))
    rank = w.ndim - 2
    window_strides = _steps(where, "window_strides", window_strides, rank)
    spread = _steps(where, "lhs_dilation", lhs_dilation, rank)
    dilation = _steps(where, "rhs_dilation", rhs_dilation, rank)
    span = [d * (k - 1) + 1 for k, d in zip(w.shape[:-2], dilation, strict=True)]
    edges = padding
    if isinstance(edges, str):
        if max(spread) > 1:
            raise ValueError(f"{where}: padding must be pairs with lhs_dilation, found {padding!r}")
        edges = lax.padtype_to_pads(x.shape[1:-1], span, window_strides, edges.upper())
    edges = _pairs(where, edges, rank)
    options = {"dilation": dilation, "groups": feature_group_count}
    if max(spread) > 1 and max(window_strides) == 1:
        flipped = jnp.flip(w, tuple(range(w.ndim - 2)))
        cut = [(n - 1 - lo, n - 1 - hi) for n, (lo, hi) in zip(span, edges, strict=True)]
        y = ops.convolve_transpose(x, flipped, strides=spread, padding=cut, **options)
    else:
        if max(spread) > 1:
            between = [(0, 0, 0), *((0, 0, n - 1) for n in spread), (0, 0, 0)]
            x = lax.pad(x, jnp.zeros((), x.dtype), between)
        y = ops.correlate(x, w, strides=window_strides, padding=edges, **options)
    # axis i of y is axis order[i] of the result
    order = (out_spec[0], *out_spec[2:], out_spec[1])
    return jnp.transpose(y, sorted(range(y.ndim), key=order.__getitem__))


def _steps(where: str, name: str, steps: Any, rank: int) -> tuple[int, ...]:
    """One integer per axis, 1 where nothing is said."""
    if not rank:
        raise ValueError(f"{where}: expected images with a spatial axis, found none")
    with naming(where):
        if is_single(steps):  # jax.lax takes none either
            raise TypeError(f"{name} must be a sequence of {rank} integers, found {steps!r}")
        return (1,) * rank if steps is None else per_axis(name, steps, rank)


def _pairs(where: str, padding: Any, rank: int) -> Pairs:
    """Pairs (before, after) of integers."""
    with naming(where):
        if is_single(padding):
            raise TypeError(f"padding must be a name or {rank} pairs, found {padding!r}")
        return pads(padding, (1,) * rank, (1,) * rank, (1,) * rank)


def conv_transpose(
    lhs: jax.Array,
    rhs: jax.Array,
    strides: Sequence[int],
    padding: str | Pairs,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    transpose_kernel: bool = False,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> jax.Array:
    """Transpose a convolution as :func:`jax.lax.conv_transpose` does, through explicit gradients.

    Args:
        lhs: Image, floating point; channels last if ``dimension_numbers`` is None.
        rhs: Kernel of the same dtype.
        strides: Step between the kernel's copies.
        padding: "VALID", "SAME", or pairs that pad the image with its zeros between.
        rhs_dilation: Step between neighbouring elements of the kernel.
        dimension_numbers: Where the axes stand.
        transpose_kernel: Whether to flip the kernel and exchange its channels.
        precision: None; see :func:`conv_general_dilated`.
        preferred_element_type: None, or the arrays' dtype.

    Returns:
        The image.

    Raises:
        TypeError: An array is not floating point, or dtypes differ.
        ValueError: Shapes don't fit, or an option is not taken.

    >>> x, w = jnp.ones((1, 3, 2)), jnp.ones((4, 2, 5))
    >>> conv_transpose(x, w, (2,), "SAME").shape
    (1, 6, 5)
    """
    rank = lhs.ndim - 2
    strides = _steps("conv_transpose", "strides", strides, rank)
    rhs_dilation = _steps("conv_transpose", "rhs_dilation", rhs_dilation, rank)
    if dimension_numbers is None:
        last = rank + 1
        image = (0, last, *range(1, last))
        dimension_numbers = lax.ConvDimensionNumbers(image, (last, rank, *range(rank)), image)
    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    if isinstance(padding, str):
        window = [rhs.shape[axis] for axis in numbers.rhs_spec[2:]]
        span = [d * (k - 1) + 1 for k, d in zip(window, rhs_dilation, strict=True)]
        padding = [_around(padding.upper(), k, s) for k, s in zip(span, strides, strict=True)]
    if transpose_kernel:
        rhs = jnp.flip(rhs, numbers.rhs_spec[2:]).swapaxes(*numbers.rhs_spec[:2])
    return conv_general_dilated(
        lhs,
        rhs,
        (1,) * rank,
        padding,
        strides,
        rhs_dilation,
        numbers,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def _around(padding: str, k: int, s: int) -> tuple[int, int]:
    """What pads an image with zeros between, for "SAME" and "VALID" transposed."""
    if padding == "SAME":
        total = k + s - 2
        before = k - 1 if s > k - 1 else -(-total // 2)
    elif padding == "VALID":
        total, before = k + s - 2 + max(k - s, 0), k - 1
    else:
        raise ValueError(f"conv_transpose: padding must be 'SAME' or 'VALID', found {padding!r}")
    return before, total - before


def pool(
    operation: Callable[..., jax.Array],
    x: jax.Array,
    window: Sequence[int],
    strides: Sequence[int] | None,
    padding: str | Pairs,
    **options: Any,
) -> jax.Array:
    """Pool ``x`` (*batch, *size, C) with any number of batch axes, none among them.

    Args:
        operation: A pool of :mod:`jcnn.ops`.
        x: Input, floating point.
        window: One entry per spatial axis, which tells how many there are.
        strides: Step between windows; 1 if None, as Flax has it.
        padding: A name or pairs.
        **options: The operation's others.

    >>> pool(ops.max_pool, jnp.ones((5, 5, 3)), (2, 2), None, "VALID").shape
    (4, 4, 3)
    """
    rank = len(window)
    batch = x.shape[: x.ndim - rank - 1]
    strides = (1,) * rank if strides is None else tuple(strides)
    flat = x.reshape(-1, *x.shape[len(batch) :]) if len(batch) != 1 else x
    y = operation(flat, tuple(window), strides=strides, padding=padding, **options)
    return y.reshape(*batch, *y.shape[1:])
