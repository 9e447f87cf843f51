"""What every table of an experiment's file is made of: one frozen object, strict fields.

Layers, losses, augmentations, optimizers and data sets are all such objects: a table's keys are an
object's fields, and the object does the work that the table asks for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from jcnn.axes import times
from jcnn.errors import LONGEST_NAME, UserError
from jcnn.validation import explain

Shape = tuple[int, ...]
LARGEST = 2**30  # so that sums of two have a place in the 32 bits that JAX counts in
LARGEST_REAL = 3.4e38  # of float32, in which programs compute
SMALLEST_REAL = 1.2e-38  # likewise; processors may take smaller ones for zero
_LONGEST_PATH = 3000  # bytes, less than a system takes with the folder it is seen from


def checked_size(value: int) -> int:
    """Return an integer, or refuse one that no program can count to."""
    if abs(value) >= LARGEST:
        raise PydanticCustomError("too_large", "expected less than {largest}", {"largest": LARGEST})
    return value


def checked_real(value: float) -> float:
    """Return a number, or refuse one that float32 does not hold."""
    if abs(value) > LARGEST_REAL:
        known = {"largest": LARGEST_REAL}
        raise PydanticCustomError("too_large", "expected at most {largest} (float32)", known)
    return value


def checked_positive(value: float) -> float:
    """Return a positive number, or refuse one that is zero in float32."""
    if value < SMALLEST_REAL:
        known = {"smallest": SMALLEST_REAL}
        raise PydanticCustomError("too_small", "expected at least {smallest} (float32)", known)
    return value


def checked_fraction(value: float) -> float:
    """Return a number below one, or refuse one that float32 rounds to it."""
    if np.float32(value) >= 1:
        raise PydanticCustomError("too_large", "expected a value less than 1.0 (float32)")
    return value


def checked_path(value: str) -> str:
    """Return a path, or refuse one that no system has: asked for it, some would fail."""
    names = [len(os.fsencode(name)) for name in value.split("/")]
    if "\0" in value or max(names) > LONGEST_NAME or sum(names) + len(names) > _LONGEST_PATH:
        known = {"longest": LONGEST_NAME}
        raise PydanticCustomError(
            "path", "expected a path whose names have {longest} bytes at most, and no zero", known
        )
    return value


# Strict, so that a quoted number or a true in place of a 1 is refused rather than converted.
Count = Annotated[int, Field(strict=True, gt=0), AfterValidator(checked_size)]
Natural = Annotated[int, Field(strict=True, ge=0), AfterValidator(checked_size)]
Real = Annotated[float, Field(strict=True, allow_inf_nan=False), AfterValidator(checked_real)]
NonNegativeReal = Annotated[
    float, Field(strict=True, allow_inf_nan=False, ge=0), AfterValidator(checked_real)
]
PositiveReal = Annotated[
    float,
    Field(strict=True, allow_inf_nan=False, gt=0),
    AfterValidator(checked_real),
    AfterValidator(checked_positive),
]
Fraction = Annotated[
    float, Field(strict=True, allow_inf_nan=False, ge=0, lt=1), AfterValidator(checked_fraction)
]
Flag = Annotated[bool, Field(strict=True)]
FilePath = Annotated[str, Field(min_length=1), AfterValidator(checked_path)]


class Table(BaseModel):
    """A table of an experiment's file: its fields are the keys, and no other key is allowed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, /, **keys: Any) -> None:
        """Check what is given in Python; numbers and arrays of NumPy are as good as Python's own.

        Raises:
            UserError: A key is unknown or missing, or has a wrong value; the message names it.
        """
        keys = {key: plain(value) for key, value in keys.items()}
        try:
            super().__init__(**keys)
        except ValidationError as error:
            key, message = explain(error, type(self), keys)
            place = f"{type(self).__name__}: {key}" if key else type(self).__name__
            raise UserError(f"{place}: {message}") from None

    # Pydantic's mark of an initializer that only checks: what lies within a table is then checked
    # with it, and not made by a call of its own that would know nothing of where it lies.
    __init__.__pydantic_base_init__ = True  # pyright: ignore[reportFunctionMemberAccess]


def plain(value: Any) -> Any:
    """Return a value with Python's numbers and lists in place of NumPy's, within tables too."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {plain(key): plain(entry) for key, entry in value.items()}
    return type(value)(map(plain, value)) if type(value) in (list, tuple) else value


def check_images(what: str, input_shape: Shape) -> None:
    """Refuse examples that are not images.

    Raises:
        UserError: ``what`` needs images, and the examples have another number of axes than three.
    """
    if len(input_shape) != 3:
        raise UserError(
            f"{what} needs images (height x width x channels), and the data are "
            f"{times(input_shape)}"
        )
