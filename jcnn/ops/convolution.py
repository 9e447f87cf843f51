r"""Convolution, correlation and transposed convolution over any number of spatial axes.

[T] and [L] call *convolution* the operation that flips the kernel and *correlation* the one that
does not, as NumPy and SciPy do (and most deep-learning frameworks don't):

.. math::
    (a * w)[m] = \sum_{m'} w[m - m'] \, a[m'] \qquad
    (a \star w)[m'] = \sum_m w[m - m'] \, a[m]

"Convolution forward, correlation backward" [L]: the input gradient of a convolution correlates the
cotangent with the same kernel, and the gradient of the kernel correlates cotangent and input.
All three functions are the closed triple of :mod:`jcnn.ops.triple`, seen from another side.

[T] is the ECE 544 tutorial by R. Yeh (2016), [L] lecture 9 of ECE 417 by M. Hasegawa-Johnson
(2023).
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jcnn.axes import Axes, Padding, integer
from jcnn.geometry import Geometry, place, place_transposed
from jcnn.ops import folds, spatial
from jcnn.ops.arguments import naming, weighted
from jcnn.ops.bias import add_bias, check_bias
from jcnn.ops.mesh import image, on_mesh
from jcnn.ops.padding import bordered, unbordered
from jcnn.ops.rule import arguments, rule
from jcnn.ops.spatial import Parts
from jcnn.ops.triple import Pair, correlation, input_gradient, kernel_gradient


def correlate(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    strides: Axes = 1,
    padding: Padding = "VALID",
    dilation: Axes = 1,
    groups: int = 1,
) -> jax.Array:
    r"""Correlate ``x`` with ``w`` (no flip) and add a bias.

    .. math:: y[m, d] = \sum_k \sum_c w[k, c, d] \, x[s m + r k - p, c] + b[d]

    for strides :math:`s`, dilation :math:`r` and padding :math:`p` before the first element.

    Args:
        x: Input, (N, *size, C), floating point; any number of spatial axes from one.
        w: Kernel, (*window, C / groups, D), of the same dtype.
        b: Bias, (D,) or one per position, (*output, D); or None.
        strides: Step between neighbouring outputs, in elements; one integer, or one per axis.
        padding: A name, in any case: "VALID" (none), "SAME" (output of ceil(size / stride), the odd
            element after; "SAME_LOWER" before), "FULL" (window - 1 on both sides); zeros. Or
            "CIRCULAR", "REFLECT" or "REPLICATE": (window - 1) // 2 elements of the input before and
            window // 2 after, see :func:`pad`. Or an integer for all sides, or a pair (before,
            after) for each axis; negative numbers crop the input.
        dilation: Step between neighbouring kernel elements.
        groups: Groups of channels that don't see each other; divides C and D.

    Returns:
        (N, *output, D), of the same dtype.

    Raises:
        TypeError: An array is not floating point, or dtypes differ.
        ValueError: Shapes don't fit, or the window is larger than the padded input.

    Gradient:
        .. math::
            \frac{\partial L}{\partial x[n, c]} = \sum_{m, k : s m + r k - p = n} \sum_d
            w[k, c, d] \, \delta[m, d], \qquad \frac{\partial L}{\partial w[k, c, d]} =
            \sum_m \delta[m, d] \, x[s m + r k - p, c]

        a convolution and a correlation; :math:`\partial L/\partial b = \sum \delta` [T "Gradient
        for bias term"]. Kept between the passes: ``x``, padded or cropped where that isn't with
        zeros, and ``w``.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([1.0, 2.0, 4.0]).reshape(1, 3, 1)
    >>> correlate(x, jnp.array([1.0, 10.0]).reshape(2, 1, 1)).ravel()
    Array([21., 42.], dtype=float32)
    """
    x, w, b = _arrays("correlate", x, w, b)
    with naming("correlate"):
        size = spatial.size_of(x)
        _check_kernel(x, w, groups)
        resolved = place(size, w.shape[:-2], strides, padding, dilation, groups)
        parts = spatial.parts_of(resolved, x)
        check_bias(b, (*spatial.own(resolved.output, parts), w.shape[-1]))
    return add_bias(on_mesh(partial(_correlate, resolved, parts), x, w, spec=image(x, w)), b)


def _correlate(geometry: Geometry, parts: Parts, x: jax.Array, w: jax.Array) -> jax.Array:
    return correlation(*bordered(geometry, parts, x), w)


def convolve(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    strides: Axes = 1,
    padding: Padding = "VALID",
    dilation: Axes = 1,
    groups: int = 1,
) -> jax.Array:
    r"""Convolve ``x`` with ``w`` (the kernel flipped) and add a bias.

    .. math:: z[m, d] = \sum_c \sum_{m'} w[m - m', c, d] \, a[m', c] + b[d]

    [L "Convolution forward", T "The forward Convolution Operation"]. With "VALID" padding the
    output keeps the positions where the kernel lies inside the image, as
    ``scipy.signal.convolve(..., mode="valid")`` does. With any padding, strides and dilation it is
    :func:`correlate` with the flipped kernel.

    Args:
        x: Input :math:`a`, (N, *size, C), floating point; any number of spatial axes from one.
        w: Kernel, (*window, C / groups, D), of the same dtype.
        b: Bias, (D,) or one per position, (*output, D); or None.
        strides: Step between neighbouring outputs; see :func:`correlate`.
        padding: See :func:`correlate`.
        dilation: Step between neighbouring kernel elements.
        groups: Groups of channels that don't see each other.

    Returns:
        (N, *output, D), of the same dtype.

    Raises:
        TypeError: An array is not floating point, or dtypes differ.
        ValueError: Shapes don't fit, or the window is larger than the padded input.

    Gradient:
        :math:`\partial L/\partial a [m'] = \sum_m w[m - m'] \, \delta[m]`, a correlation [L "The
        Back-Prop of Convolution is Correlation"]; :math:`\partial L/\partial w [k] = \sum_m
        \delta[m] \, a[m - k]`, a correlation too [L "Weight gradient"];
        :math:`\partial L/\partial b = \sum \delta` [T]. Kept between the passes: ``x``, padded or
        cropped where that isn't with zeros, and ``w``.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([1.0, 2.0, 4.0]).reshape(1, 3, 1)
    >>> convolve(x, jnp.array([1.0, 10.0]).reshape(2, 1, 1)).ravel()
    Array([12., 24.], dtype=float32)
    """
    x, w, b = _arrays("convolve", x, w, b)
    with naming("convolve"):
        size = spatial.size_of(x)
        _check_kernel(x, w, groups)
        resolved = place(size, w.shape[:-2], strides, padding, dilation, groups)
        parts = spatial.parts_of(resolved, x)
        check_bias(b, (*spatial.own(resolved.output, parts), w.shape[-1]))
    return add_bias(
        on_mesh(partial(_bordered_convolve, resolved, parts), x, w, spec=image(x, w)), b
    )


def _bordered_convolve(geometry: Geometry, parts: Parts, x: jax.Array, w: jax.Array) -> jax.Array:
    return _convolve(*bordered(geometry, parts, x), w)


@rule(keeps=arguments, statics=1)
def _convolve(geometry: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    return correlation(geometry, x, _flip(w))


@_convolve.pullback
def _(geometry: Geometry, x: jax.Array, w: jax.Array, dy: jax.Array) -> Pair:
    dx = input_gradient(geometry, dy, _flip(w))  # w ⋆ δ [L]
    dw = _flip(kernel_gradient(geometry, x, dy))  # δ ⋆ a [L]
    return dx, dw


_convolve.folding(folds.of_image)


def convolve_transpose(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    strides: Axes = 1,
    padding: Padding = "VALID",
    dilation: Axes = 1,
    groups: int = 1,
    output_padding: Axes = 0,
) -> jax.Array:
    r"""Add a copy of the kernel, scaled by each input element, every ``strides`` elements.

    .. math:: y[n, d] = \sum_{m, k : s m + r k - p = n} \sum_c w[k, c, d] \, x[m, c] + b[d]

    for strides :math:`s`, dilation :math:`r`, and :math:`p` elements cut off before the first.

    The adjoint of :func:`correlate` of the same strides, padding and dilation: transposed, or
    fractionally strided, convolution (synthesis by overlap-add).

    Args:
        x: Input, (N, *size, C), floating point.
        w: Kernel, (*window, C / groups, D), of the same dtype.
        b: Bias, (D,) or one per position, (*output, D); or None.
        strides: Step between the kernel's copies, in output elements.
        padding: What the correlation that this is the adjoint of would pad, so what is cut off
            here. With :math:`n` elements and a window that spans :math:`k`: "VALID" gives
            :math:`s (n - 1) + k`, "SAME" gives :math:`s n`, "FULL" cuts :math:`k - 1` off both
            ends; an integer or pairs cut that much, and negative ones add. With "CIRCULAR",
            "REFLECT" and "REPLICATE" what hangs over is added to what they would have copied.
        dilation: Step between neighbouring kernel elements.
        groups: Groups of channels that don't see each other.
        output_padding: Elements more behind the output: so many fewer are cut off there, and
            those that no kernel reaches are zero. Smaller than the stride or the dilation.

    Returns:
        (N, *output, D), of the same dtype.

    Raises:
        TypeError: An array is not floating point, or dtypes differ.
        ValueError: Shapes don't fit, or the padding cuts everything off.

    Gradient:
        .. math::
            \frac{\partial L}{\partial x[m, c]} = \sum_k \sum_d w[k, c, d] \,
            \delta[s m + r k - p, d], \qquad \frac{\partial L}{\partial w[k, c, d]} =
            \sum_m x[m, c] \, \delta[s m + r k - p, d]

        two correlations; :math:`\partial L/\partial b = \sum \delta`. Kept between the passes:
        ``x`` and ``w``.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([1.0, 2.0]).reshape(1, 2, 1)
    >>> convolve_transpose(x, jnp.array([1.0, 10.0, 5.0]).reshape(3, 1, 1), strides=2).ravel()
    Array([ 1., 10.,  7., 20., 10.], dtype=float32)
    """
    x, w, b = _arrays("convolve_transpose", x, w, b)
    with naming("convolve_transpose"):
        inner = spatial.size_of(x)
        _check_kernel(x, w, groups)
        resolved = place_transposed(
            inner, w.shape[:-2], strides, padding, dilation, groups, output_padding
        )
        parts = spatial.parts_of(resolved, x)
        check_bias(b, (*spatial.own(resolved.size, parts), w.shape[-1]))
    return add_bias(
        on_mesh(partial(_unbordered_transpose, resolved, parts), x, w, spec=image(x, w)), b
    )


def _unbordered_transpose(
    geometry: Geometry, parts: Parts, x: jax.Array, w: jax.Array
) -> jax.Array:
    windows = spatial.windows_of(geometry, parts).bordered()
    return unbordered(geometry, parts, _convolve_transpose(windows, x, w))


@rule(keeps=arguments, statics=1)
def _convolve_transpose(geometry: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    return input_gradient(geometry, x, _exchange_channels(w, geometry.groups))


@_convolve_transpose.pullback
def _(geometry: Geometry, x: jax.Array, w: jax.Array, dy: jax.Array) -> Pair:
    dx = correlation(geometry, dy, _exchange_channels(w, geometry.groups))
    dw = _exchange_channels(kernel_gradient(geometry, dy, x), geometry.groups)
    return dx, dw


_convolve_transpose.folding(folds.of_examples)


def _flip(w: jax.Array) -> jax.Array:
    """Return w[-k]: every spatial axis reversed."""
    return jnp.flip(w, axis=tuple(range(w.ndim - 2)))


def _exchange_channels(w: jax.Array, groups: int) -> jax.Array:
    """Let input and output channels change places within each group; its own inverse."""
    *window, c, d = w.shape
    split = w.reshape(*window, c, groups, d // groups)
    return jnp.swapaxes(split, -1, -3).reshape(*window, d // groups, groups * c)


def _arrays(
    op: str, x: ArrayLike, w: ArrayLike, b: ArrayLike | None
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    x, w, *rest = weighted(op, x, w, b)
    return x, w, rest[0] if rest else None


def _check_kernel(x: jax.Array, w: jax.Array, groups: int) -> None:
    groups = integer("groups", groups, 1)
    if w.ndim != x.ndim:
        raise ValueError(
            f"w must have shape (*window, C / groups, D) with {x.ndim - 2} window axes "
            f"for x of shape {x.shape}, found {w.shape}"
        )
    c, d = x.shape[-1], w.shape[-1]
    if c % groups or d % groups:
        raise ValueError(f"groups must divide the channels {c} and {d}, found {groups}")
    if w.shape[-2] != c // groups:
        raise ValueError(
            f"w must have C / groups = {c // groups} input channels for x with {c} channels "
            f"and {groups} group(s), found {w.shape[-2]} in its shape {w.shape}"
        )
