"""Window-like fields, an integer or a list with one per spatial axis, and their geometry."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from jcnn.errors import UserError
from jcnn.fields import Shape, dims
from jcnn.lowering.geometry import Geometry
from jcnn.ops.arguments import pads

PADDINGS = ("VALID", "SAME", "FULL")


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _per_axis(value: Any) -> int | tuple[int, ...]:
    if _is_count(value, 1):
        return value
    if isinstance(value, list | tuple) and value and all(_is_count(v, 1) for v in value):
        return tuple(value)
    raise PydanticCustomError(
        "per_axis", "expected a positive integer, or a list of one for each spatial axis"
    )


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, list | tuple) and len(value) == 2 and all(_is_count(v, 0) for v in value)
    )


def _padding(value: Any) -> str | int | tuple[tuple[int, int], ...]:
    if _is_count(value, 0) or (isinstance(value, str) and value in PADDINGS):
        return value
    if isinstance(value, list | tuple) and value:
        if all(_is_count(v, 0) for v in value):
            return tuple((v, v) for v in value)
        if all(_is_pair(v) for v in value):
            return tuple((lo, hi) for lo, hi in value)
    raise PydanticCustomError(
        "padding",
        'expected "VALID", "SAME", "FULL", an integer of at least 0, '
        "or a list of such integers or of [before, after] pairs, one for each spatial axis",
    )


PerAxis = Annotated[Any, BeforeValidator(_per_axis)]
Padding = Annotated[Any, BeforeValidator(_padding)]


def spatial(input_shape: Shape) -> Shape:
    """Spatial axes of an input, which must have some.

    >>> spatial((28, 28, 1))
    (28, 28)
    """
    if len(input_shape) < 2:
        raise UserError(
            "it needs spatial axes and channels, and its input is flat "
            f"({dims(input_shape)} values)"
        )
    return input_shape[:-1]


def per_axis(field: str, value: int | tuple[int, ...], size: Shape) -> tuple[int, ...]:
    """One entry for each axis of ``size``.

    >>> per_axis("window", 3, (28, 28))
    (3, 3)
    """
    values = (value,) * len(size) if isinstance(value, int) else value
    if len(values) != len(size):
        raise UserError(
            f"{field} {list(values)} should have {len(size)} entries, "
            f"one for each spatial axis of its input {dims(size)}"
        )
    return values


def explicit_padding(field: str, value: Any, size: Shape) -> tuple[tuple[int, int], ...]:
    """Padding given as an integer or pairs, as one pair for each axis of ``size``."""
    if isinstance(value, int):
        return ((value, value),) * len(size)
    if len(value) != len(size):
        raise UserError(
            f"{field} {[list(pair) for pair in value]} should have {len(size)} entries, "
            f"one for each spatial axis of its input {dims(size)}"
        )
    return value


def geometry(
    input_shape: Shape,
    *,
    window: Any,
    strides: Any,
    padding: Any,
    dilation: Any = 1,
    groups: int = 1,
) -> Geometry:
    """The geometry of a window over an input of this shape.

    Raises:
        UserError: The number of axes differs, or the window is larger than the padded input.

    >>> geometry((28, 28, 1), window=5, strides=1, padding="VALID").output
    (24, 24)
    """
    size = spatial(input_shape)
    window = per_axis("window", window, size)
    strides = per_axis("strides", strides, size)
    dilation = per_axis("dilation", dilation, size)
    span = tuple(d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True))
    if not isinstance(padding, str):
        padding = explicit_padding("padding", padding, size)
    pairs = pads("window", padding, size, span, strides)
    result = Geometry(size, window, strides, pairs, dilation, groups)
    if any(n < k for n, k in zip(result.padded, span, strict=True)):
        raise UserError(_too_large(result))
    return result


def _too_large(found: Geometry) -> str:
    dilated = f" ({dims(found.span)} with its dilation)" if found.span != found.window else ""
    same = len(set(found.padding)) == 1 and found.padding[0][0] == found.padding[0][1]
    shown = found.padding[0][0] if same else [list(pair) for pair in found.padding]
    return (
        f"window {dims(found.window)}{dilated} is larger than its input {dims(found.size)} "
        f"(with padding {shown})"
    )
