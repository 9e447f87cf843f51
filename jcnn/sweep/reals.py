"""Which keys of an experiment are of real numbers: their types say it, however they are written."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from jcnn.optimizers.catalogue import optimizers, schedules, transformations
from jcnn.optimizers.transformation import Transformation

Types = tuple[Any, ...]


def is_real(experiment: BaseModel, key: str) -> bool:
    """Whether a dotted key takes real numbers, whether or not the file writes it.

    The type of its field says so; of an argument of Optax the default, or else its type. Where
    neither says anything, the value does that it has.
    """
    here: Any = experiment
    types: Types = (type(experiment),)
    for part in key.split("."):
        types, here = _types(types, here, part), _value(here, part)
    return float in types or (int not in types and isinstance(here, float))


def _types(types: Types, here: Any, part: str) -> Types:
    """Return what a key may be within ``here``, which is one of ``types``, or not written."""
    if isinstance(here, Transformation) and part not in type(here).model_fields:
        known = {**transformations(), **optimizers()}
        return _of_argument(known[here.name], part)
    if isinstance(here, Mapping) and here.get("schedule") in schedules():
        return _of_argument(schedules()[here["schedule"]], part)
    if isinstance(here, BaseModel):
        types = (type(here),)
    found: list[Any] = []
    for each in types:
        if isinstance(each, type) and issubclass(each, BaseModel):
            field = each.model_fields.get(part)
            found += _alternatives(field.annotation) if field else ()
        elif get_args(each):  # of a list or a table the entries
            found += _alternatives(get_args(each)[0 if part.isdecimal() else -1])
    return tuple(found)


def _of_argument(function: Callable[..., Any], name: str) -> Types:
    try:
        parameters = inspect.signature(function, eval_str=True).parameters
    except Exception:  # annotations may name what is imported for type checkers alone
        parameters = inspect.signature(function).parameters
    if name not in parameters:
        return ()
    parameter = parameters[name]
    if isinstance(parameter.default, int | float):
        return (type(parameter.default),)  # Optax's type of any number allows both
    return _alternatives(parameter.annotation)


def _alternatives(annotation: Any) -> Types:
    """Return the types of a union, or the one that there is, without what is said of them."""
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return tuple(one for each in get_args(annotation) for one in _alternatives(each))
    return (annotation,)


def _value(here: Any, part: str) -> Any:
    if isinstance(here, BaseModel):
        return getattr(here, part, None)
    if isinstance(here, Mapping):
        return here.get(part)
    if isinstance(here, Sequence) and part.isdecimal() and len(part) < 10:
        return here[int(part)] if int(part) < len(here) else None
    return None
