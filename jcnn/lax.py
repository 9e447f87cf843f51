"""The convolutions of :mod:`jax.lax`, with explicit gradients.

What the layers of other frameworks call, with the arguments that they are called with; see
:mod:`jcnn.flax` and :mod:`jcnn.equinox`. An option that is not taken is refused by its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jcnn import ops
from jcnn.axes import integer, is_single, known, pads, per_axis, times
from jcnn.frameworks import image_and_kernel, refuse
from jcnn.geometry import Geometry
from jcnn.ops.arguments import naming

__all__ = ["conv_general_dilated", "conv_transpose"]

Pairs = Sequence[tuple[int, int]]
Steps = tuple[int, ...]
Numbers = lax.ConvDimensionNumbers


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
        ValueError: Shapes don't fit, the window is larger than the padded image, or an option is
            not taken.

    >>> x, w = jnp.ones((1, 3, 8)), jnp.ones((2, 3, 5))
    >>> conv_general_dilated(x, w, (1,), "VALID").shape
    (1, 2, 4)
    """
    where = "conv_general_dilated"
    refuse(where, "group features", batch_group_count=(batch_group_count, 1))
    refuse(where, "the result is sharded as its arguments", out_sharding=(out_sharding, None))
    lhs, rhs = image_and_kernel(where, lhs, rhs, precision, preferred_element_type)
    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    rank = lhs.ndim - 2
    strides = _steps(where, "window_strides", window_strides, rank)
    spread = _steps(where, "lhs_dilation", lhs_dilation, rank)
    dilation = _steps(where, "rhs_dilation", rhs_dilation, rank)
    groups = _groups(where, lhs, rhs, numbers, feature_group_count)
    windows = _windows(lhs, rhs, numbers, (strides, spread, dilation), groups)
    if isinstance(padding, str):
        padding = _named_pairs(where, padding, windows, spread)
    return _convolved(where, windows, padding, spread, numbers, lhs, rhs)


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
    use_consistent_padding: bool = False,
) -> jax.Array:
    """Transpose a convolution as :func:`jax.lax.conv_transpose` does, through explicit gradients.

    Args:
        lhs: Image, floating point; channels last if ``dimension_numbers`` is None.
        rhs: Kernel of the same dtype.
        strides: Step between the kernel's copies.
        padding: "VALID" or "SAME" of the convolution that is transposed, or pairs that pad the
            image with its zeros between. Any other name that ``jax.lax`` has, "SAME_LOWER" or
            one in small letters, pads the image itself, at strides of 1 alone.
        rhs_dilation: Step between neighbouring elements of the kernel.
        dimension_numbers: Where the axes stand.
        transpose_kernel: Whether to flip the kernel and exchange its channels.
        precision: None; see :func:`conv_general_dilated`.
        preferred_element_type: None, or the arrays' dtype.
        use_consistent_padding: Whether pairs, as names, are those of the convolution that is
            transposed.

    Returns:
        The image.

    Raises:
        TypeError: An array is not floating point, or dtypes differ.
        ValueError: Shapes don't fit, the window is larger than the padded image, or an option is
            not taken.

    >>> x, w = jnp.ones((1, 3, 2)), jnp.ones((4, 2, 5))
    >>> conv_transpose(x, w, (2,), "SAME").shape
    (1, 6, 5)
    """
    where = "conv_transpose"
    lhs, rhs = image_and_kernel(where, lhs, rhs, precision, preferred_element_type)
    rank = lhs.ndim - 2
    strides = _steps(where, "strides", strides, rank)
    dilation = _steps(where, "rhs_dilation", rhs_dilation, rank)
    if dimension_numbers is None:
        last = rank + 1
        image = (0, last, *range(1, last))
        dimension_numbers = lax.ConvDimensionNumbers(image, (last, rank, *range(rank)), image)
    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    if transpose_kernel:
        features, channels, *axes = numbers.rhs_spec
        numbers = numbers._replace(rhs_spec=(channels, features, *axes))
        rhs = jnp.flip(rhs, axes)
    groups = _groups(where, lhs, rhs, numbers, 1)
    windows = _windows(lhs, rhs, numbers, ((1,) * rank, strides, dilation), groups)
    padding = _transposed_pairs(where, padding, windows, strides, use_consistent_padding)
    return _convolved(where, windows, padding, strides, numbers, lhs, rhs)


def _groups(where: str, lhs: jax.Array, rhs: jax.Array, numbers: Numbers, groups: int) -> int:
    """The groups of channels, which fit the arrays."""
    with naming(where):
        groups = integer("feature_group_count", groups, 1)
    channels = lhs.shape[numbers.lhs_spec[1]]
    features, found, *window = (rhs.shape[axis] for axis in numbers.rhs_spec)
    if channels % groups or features % groups:
        raise ValueError(
            f"{where}: feature_group_count must divide the channels of lhs, {channels}, and the "
            f"features of rhs, {features}, found {groups}"
        )
    if found != channels // groups:
        raise ValueError(
            f"{where}: rhs must have {channels // groups} input channels for lhs of shape "
            f"{lhs.shape} and {groups} group(s), found {found} in its shape {rhs.shape}"
        )
    if 0 in window:
        raise ValueError(
            f"{where}: rhs must have an element along each spatial axis, found shape {rhs.shape}"
        )
    return groups


def _steps(where: str, name: str, steps: Any, rank: int) -> Steps:
    """One integer per axis, 1 where nothing is said."""
    with naming(where):
        if is_single(steps):  # jax.lax takes none either
            raise TypeError(f"{name} must be a sequence of {rank} integers, found {steps!r}")
        return (1,) * rank if steps is None else per_axis(name, steps, rank)


def _windows(
    lhs: jax.Array, rhs: jax.Array, numbers: Numbers, steps: Sequence[Steps], groups: int
) -> Geometry:
    """Windows over the image with zeros between its elements, not padded yet."""
    strides, spread, dilation = steps
    size = (lhs.shape[axis] for axis in numbers.lhs_spec[2:])
    return Geometry(
        size=tuple(s * (n - 1) + 1 if n != 0 else 0 for n, s in zip(size, spread, strict=True)),
        window=tuple(rhs.shape[axis] for axis in numbers.rhs_spec[2:]),
        strides=strides,
        padding=((0, 0),) * len(strides),
        dilation=dilation,
        groups=groups,
    )


def _pairs(where: str, padding: Any, rank: int) -> Pairs:
    """Pairs (before, after) of integers."""
    with naming(where):
        if is_single(padding):
            raise TypeError(f"padding must be a name or {rank} pairs, found {padding!r}")
        return pads(padding, (1,) * rank, (1,) * rank, (1,) * rank)


def _named_pairs(where: str, name: str, windows: Geometry, spread: Steps) -> Pairs:
    """The pairs of a name that ``jax.lax`` has."""
    if name.upper() not in (names := ("VALID", "SAME", "SAME_LOWER")):
        raise ValueError(
            f"{where}: padding must be one of {', '.join(names)}, or pairs, found {name!r}"
        )
    if max(spread) > 1:
        raise ValueError(f"{where}: padding must be pairs with lhs_dilation, found {name!r}")
    return lax.padtype_to_pads(windows.size, windows.span, windows.strides, name.upper())


def _transposed_pairs(
    where: str, padding: str | Pairs, windows: Geometry, strides: Steps, consistent: bool
) -> Pairs:
    """What pads an image with zeros between its elements."""
    span = windows.span
    if not isinstance(padding, str):
        pairs = _pairs(where, padding, windows.rank)
        if not consistent:
            return pairs
        return [(k - 1 - lo, k - 1 - hi) for k, (lo, hi) in zip(span, pairs, strict=True)]
    if padding in ("SAME", "VALID"):
        return [_around(padding, k, s) for k, s in zip(span, strides, strict=True)]
    if consistent or max(strides) > 1:
        raise ValueError(f"{where}: padding must be 'SAME' or 'VALID', found {padding!r}")
    return _named_pairs(where, padding, windows, strides)


def _around(padding: str, k: int, s: int) -> tuple[int, int]:
    """What pads an axis for "SAME" or "VALID", transposed."""
    if padding == "VALID":
        total, before = k + s - 2 + max(k - s, 0), k - 1
    else:
        total = k + s - 2
        before = k - 1 if s > k - 1 else -(-total // 2)
    return before, total - before


def _convolved(
    where: str,
    windows: Geometry,
    padding: Any,
    spread: Steps,
    numbers: Numbers,
    lhs: jax.Array,
    rhs: jax.Array,
) -> jax.Array:
    """Convolve what fits, its axes in any order."""
    windows = replace(windows, padding=tuple(_pairs(where, padding, windows.rank)))
    _check_windows(where, windows, spread)
    lhs_spec, rhs_spec, out_spec = numbers
    x = jnp.transpose(lhs, (lhs_spec[0], *lhs_spec[2:], lhs_spec[1]))
    w = jnp.transpose(rhs, (*rhs_spec[2:], rhs_spec[1], rhs_spec[0]))
    y = _correlated(windows, spread, x, w)
    # axis i of y is axis order[i] of the result
    order = (out_spec[0], *out_spec[2:], out_spec[1])
    return jnp.transpose(y, sorted(range(y.ndim), key=order.__getitem__))


def _check_windows(where: str, windows: Geometry, spread: Steps) -> None:
    """Refuse a window, or a padding, that ends with no image."""
    size, edges = times(windows.size), windows.padding
    if any(known(n) and n < 1 for n in windows.output):
        dilated = ", as dilated" if max(*spread, *windows.dilation) > 1 else ""
        raise ValueError(
            f"{where}: rhs must fit into lhs with its padding, found a window of "
            f"{times(windows.span)} in {size}{dilated}, with padding {edges}"
        )
    cropped = any(map(any, windows.border))
    if cropped and any(known(n) and n < 1 for n in windows.bordered().size):
        raise ValueError(f"{where}: padding {edges} leaves nothing of lhs, {size}")


def _correlated(windows: Geometry, spread: Steps, x: jax.Array, w: jax.Array) -> jax.Array:
    """Correlate channels-last arrays, or transpose a convolution where that is the same."""
    options: dict[str, Any] = {"dilation": windows.dilation, "groups": windows.groups}
    if max(spread) > 1 and max(windows.strides) == 1 and 0 not in x.shape[1:-1]:
        flipped = jnp.flip(w, tuple(range(windows.rank)))
        edges = zip(windows.span, windows.padding, strict=True)
        cut = [(n - 1 - lo, n - 1 - hi) for n, (lo, hi) in edges]
        return ops.convolve_transpose(x, flipped, strides=spread, padding=cut, **options)
    if max(spread) > 1:
        between = [(0, 0, 0), *((0, 0, n - 1) for n in spread), (0, 0, 0)]
        x = lax.pad(x, jnp.zeros((), x.dtype), between)
    return ops.correlate(x, w, strides=windows.strides, padding=windows.padding, **options)
