"""Window-like fields, an integer or a list with one per spatial axis, and their geometry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from jcnn import axes, geometry
from jcnn.axes import times
from jcnn.errors import UserError
from jcnn.fields import Shape, checked_size
from jcnn.geometry import Geometry


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and checked_size(value) == value


def _is_count(value: Any, least: int) -> bool:
    return _is_integer(value) and value >= least


def _per_axis(value: Any) -> int | tuple[int, ...]:
    if _is_count(value, 1):
        return value
    if isinstance(value, list | tuple) and value and all(_is_count(v, 1) for v in value):
        return tuple(value)
    raise PydanticCustomError(
        "per_axis", "expected a positive integer, or a list of one for each spatial axis"
    )


def _naturals(value: Any) -> int | tuple[int, ...]:
    if _is_count(value, 0):
        return value
    if isinstance(value, list | tuple) and value and all(_is_count(v, 0) for v in value):
        return tuple(value)
    raise PydanticCustomError(
        "per_axis", "expected an integer of at least 0, or a list of one for each spatial axis"
    )


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_integer, value))


_EDGES = (
    "an integer, or a list of integers or of [before, after] pairs, one for each spatial axis; "
    "negative ones crop"
)


def _padding(value: Any) -> str | int | tuple[tuple[int, int], ...]:
    if isinstance(value, str) and value.upper() in axes.NAMES:
        return value.upper()
    names = ", ".join(f'"{name}"' for name in axes.NAMES)
    return _edges(value, expected=f"one of {names}, {_EDGES}")


def _edges(value: Any, expected: str = _EDGES) -> int | tuple[tuple[int, int], ...]:
    if _is_integer(value):
        return value
    if isinstance(value, list | tuple) and value:
        if all(map(_is_integer, value)):
            return tuple((v, v) for v in value)
        if all(map(_is_pair, value)):
            return tuple((lo, hi) for lo, hi in value)
    raise PydanticCustomError("padding", "expected {expected}", {"expected": expected})


PerAxis = Annotated[Any, BeforeValidator(_per_axis)]
Naturals = Annotated[Any, BeforeValidator(_naturals)]
Padding = Annotated[Any, BeforeValidator(_padding)]
Edges = Annotated[Any, BeforeValidator(lambda value: _edges(value))]


def spatial(input_shape: Shape) -> Shape:
    """Spatial axes of an input, which must have some.

    >>> spatial((28, 28, 1))
    (28, 28)
    """
    if len(input_shape) < 2:
        raise UserError(
            "it needs spatial axes and channels, and its input is flat "
            f"({times(input_shape)} values)"
        )
    return input_shape[:-1]


@contextmanager
def placing() -> Iterator[None]:
    """Say what is wrong with a window as a mistake in the file, found at the layer."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise UserError(str(error)) from None


def per_axis(field: str, value: int | tuple[int, ...], size: Shape) -> tuple[int, ...]:
    """One entry for each axis of ``size``.

    >>> per_axis("window", 3, (28, 28))
    (3, 3)
    """
    with placing():
        return axes.per_axis(field, value, len(size))


def explicit_padding(value: Any, size: Shape) -> tuple[tuple[int, int], ...]:
    """Padding given as an integer or pairs, as one pair for each axis of ``size``."""
    with placing():
        return axes.integer_pads(value, len(size))


def place(input_shape: Shape, **window: Any) -> Geometry:
    """The geometry of a window over an input of this shape; see :func:`jcnn.geometry.place`.

    Raises:
        UserError: The number of axes differs, or the window is larger than the padded input.

    >>> place((28, 28, 1), window=5, strides=1, padding="VALID").output
    (24, 24)
    """
    size = spatial(input_shape)
    with placing():
        return geometry.place(size, **window)
