"""From what a caller may write (3, "SAME", ((1, 2), 0)) to checked, hashable integers."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jcnn.lowering.geometry import Geometry

Axes: TypeAlias = int | Sequence[int]
Padding: TypeAlias = str | int | Sequence[int | Sequence[int]]


def integer(op: str, name: str, value: object, minimum: int) -> int:
    """Return ``value`` as an int of at least ``minimum``."""
    try:
        number = operator.index(value)  # pyright: ignore[reportArgumentType]
    except TypeError:
        raise TypeError(f"{op}: {name} must be an integer, found {value!r}") from None
    if isinstance(value, bool):
        raise TypeError(f"{op}: {name} must be an integer, found {value!r}")
    if number < minimum:
        raise ValueError(f"{op}: {name} must be at least {minimum}, found {number}")
    return number


def per_axis(op: str, name: str, value: Axes, rank: int, minimum: int = 1) -> tuple[int, ...]:
    """Return one integer a spatial axis, from one integer or one for each axis."""
    if isinstance(value, int | np.integer):
        return (integer(op, name, value, minimum),) * rank
    if not isinstance(value, Sequence | np.ndarray) or isinstance(value, str):
        raise TypeError(f"{op}: {name} must be an integer or a sequence of them, found {value!r}")
    if len(value) != rank:
        raise ValueError(
            f"{op}: {name} must have one entry for each of the {rank} spatial axes, "
            f"found {tuple(value)}"
        )
    return tuple(integer(op, name, entry, minimum) for entry in value)


def pads(
    op: str,
    padding: Padding,
    size: tuple[int, ...],
    span: tuple[int, ...],
    strides: tuple[int, ...],
) -> tuple[tuple[int, int], ...]:
    """Resolve ``padding`` to pairs (before, after), one a spatial axis.

    "VALID" pads nothing; "FULL" pads the window's span less one on both sides; "SAME" pads so that
    the output has ``ceil(size / stride)`` elements, the odd element after.
    """
    if isinstance(padding, str):
        return _named_pads(op, padding, size, span, strides)
    if isinstance(padding, int | np.integer):
        both = integer(op, "padding", padding, 0)
        return ((both, both),) * len(size)
    if not isinstance(padding, Sequence | np.ndarray) or len(padding) != len(size):
        raise ValueError(
            f"{op}: padding must be 'VALID', 'SAME', 'FULL', an integer, or one pair for each of "
            f"the {len(size)} spatial axes, found {padding!r}"
        )
    return tuple(_pair(op, entry) for entry in padding)


def _pair(op: str, entry: int | Sequence[int]) -> tuple[int, int]:
    lo, hi = per_axis(op, "padding", entry, 2, minimum=0)
    return lo, hi


def _named_pads(
    op: str,
    padding: str,
    size: tuple[int, ...],
    span: tuple[int, ...],
    strides: tuple[int, ...],
) -> tuple[tuple[int, int], ...]:
    match padding:
        case "VALID":
            return ((0, 0),) * len(size)
        case "FULL":
            return tuple((n - 1, n - 1) for n in span)
        case "SAME":
            totals = (
                max((-(-s // stride) - 1) * stride + n - s, 0)
                for s, n, stride in zip(size, span, strides, strict=True)
            )
            return tuple((total // 2, total - total // 2) for total in totals)
    raise ValueError(f"{op}: padding must be 'VALID', 'SAME' or 'FULL', found {padding!r}")


def geometry(
    op: str,
    size: tuple[int, ...],
    window: Axes,
    strides: Axes | None,
    padding: Padding,
    dilation: Axes = 1,
    groups: int = 1,
) -> Geometry:
    """Resolve a sliding window; ``strides=None`` means the window itself (pools)."""
    rank = len(size)
    window = per_axis(op, "window", window, rank)
    strides = window if strides is None else per_axis(op, "strides", strides, rank)
    dilation = per_axis(op, "dilation", dilation, rank)
    groups = integer(op, "groups", groups, 1)
    span = tuple(d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True))
    resolved = Geometry(
        size, window, strides, pads(op, padding, size, span, strides), dilation, groups
    )
    if min(resolved.output) < 1:
        raise ValueError(
            f"{op}: a window that spans {_times(resolved.span)} does not fit into an input of "
            f"{_times(size)} with padding {resolved.padding}"
        )
    return resolved


def pool_geometry(
    op: str, x: jax.Array, window: Axes, strides: Axes | None, padding: Padding
) -> Geometry:
    """Resolve a pool's window for ``x``; refuse one that padding alone can fill."""
    resolved = geometry(op, spatial_size(op, x), window, strides, padding)
    for span, pair in zip(resolved.span, resolved.padding, strict=True):
        if max(pair) >= span:
            raise ValueError(
                f"{op}: padding must be smaller than the window {resolved.window}, "
                f"found {resolved.padding}"
            )
    return resolved


def _times(size: Sequence[int]) -> str:
    return "x".join(str(n) for n in size)


def floating(op: str, **arrays: ArrayLike | None) -> list[jax.Array]:
    """Convert to JAX arrays of one floating dtype, alike varying; leave out what is None."""
    converted = {name: jnp.asarray(a) for name, a in arrays.items() if a is not None}
    for name, a in converted.items():
        if not jnp.issubdtype(a.dtype, jnp.floating):
            raise TypeError(f"{op}: {name} must be floating point, found {a.dtype}")
    dtypes = {a.dtype for a in converted.values()}
    if len(dtypes) > 1:
        found = ", ".join(f"{name}: {a.dtype}" for name, a in converted.items())
        raise TypeError(f"{op}: all arrays must share one dtype, found {found}")
    return alike(*converted.values())


def alike(*arrays: jax.Array) -> list[jax.Array]:
    """Let every array vary over the mesh axes that one of them varies over.

    Inside ``jax.shard_map`` a sharded image meets a replicated kernel, whose gradient is then the
    sum over the devices. JAX's own operations cast their arguments so, and sum in the cast's
    transpose; a ``custom_vjp`` has to be given arguments that are cast. Elsewhere nothing changes.
    """
    varying = [jax.typeof(a).manual_axis_type.varying for a in arrays]
    union = frozenset().union(*varying)
    return [
        lax.pcast(a, tuple(union - axes), to="varying")
        for a, axes in zip(arrays, varying, strict=True)
    ]


def spatial_size(op: str, x: jax.Array) -> tuple[int, ...]:
    """Return the spatial axes' lengths of ``x`` (N, *size, C)."""
    if x.ndim < 3:
        raise ValueError(
            f"{op}: x must have a batch axis, at least one spatial axis and a channel axis "
            f"(N, *size, C), found shape {x.shape}"
        )
    return x.shape[1:-1]
