"""From what pydantic found wrong to one sentence that names the key as the file writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, time
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from jcnn.errors import nearest, unknown

_EXPECTED = {
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "string_type": "a string",
    "string_unicode": "a string in UTF-8",
    "string_pattern_mismatch": "a string that matches {pattern}",
    "string_too_short": "a string that is not empty",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "greater_than": "a value greater than {gt}",
    "greater_than_equal": "a value of at least {ge}",
    "less_than": "a value less than {lt}",
    "less_than_equal": "a value of at most {le}",
    "literal_error": "{expected}",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dict_type": "a table",
    "tuple_type": "a list",
    "list_type": "a list",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
}


def explain(
    error: ValidationError, model: type[BaseModel], document: Any, also: Sequence[str] = ()
) -> tuple[str, str]:
    """Return the dotted key of the first mistake, and what is wrong there.

    A mistyped key is also a missing one; the former says more, so unknown keys go first.

    Args:
        error: What pydantic raised.
        model: The class that was to be made.
        document: The plain dicts and lists that it was to be made from.
        also: Keys that the file may have beside those of ``model``, which knows nothing of them.
    """
    errors = error.errors(include_url=False)
    first = min(errors, key=lambda each: each["type"] != "extra_forbidden")
    path = _written_path(first, document)
    context = first.get("ctx", {})
    cause = context.get("error")
    if first["type"] == "value_error" and cause is not None:
        path += [str(part) for part in getattr(cause, "path", ())]
        return ".".join(path), str(cause)
    if first["type"].startswith("union_tag"):
        path.append(context["discriminator"].strip("'"))
    same = [each for each in errors if _written_path(each, document) == path]
    sentence = _sentence(first, same, model, also)
    if first["type"] == "tuple_type" and isinstance(first["input"], Mapping):
        names = [part for part in path if not part.isdecimal()]
        sentence = one_of_several(model, names) or sentence
    return ".".join(path), sentence


def _sentence(first: Any, same: Sequence[Any], model: type[BaseModel], also: Sequence[str]) -> str:
    """Say what is wrong; ``same`` are the errors of this key, one per type that it may have."""
    kind, found, context = first["type"], first["input"], first.get("ctx", {})
    match kind:
        case "extra_forbidden":
            *parents, key = first["loc"]
            known = [*_fields(model, tuple(parents)), *(() if parents else also)]
            hint = nearest(str(key), known) or ("" if parents else _elsewhere(str(key), model))
            return f"unknown key{hint}; there are {', '.join(known)}"
        case "missing" if isinstance(first["loc"][-1], int):  # of a list of so many and no fewer
            count = 1 + max(each["loc"][-1] for each in same)
            return f"expected a list of {count}, found {_shown(found)}"
        case "missing":
            *parents, key = first["loc"]
            return f"this key is missing{_mistyped(key, found, _fields(model, tuple(parents)))}"
        case "union_tag_not_found":
            key, known = context["discriminator"].strip("'"), _fields(model, first["loc"])
            return f"this key is missing{_mistyped(key, found, known)}"
        case "union_tag_invalid":
            return unknown(context["tag"], context["expected_tags"].replace("'", "").split(", "))
    if kind in _EXPECTED:
        ways = [
            _EXPECTED[e["type"]].format(**e.get("ctx", {})) for e in same if e["type"] in _EXPECTED
        ]
        return f"expected {' or '.join(dict.fromkeys(ways))}, found {_shown(found)}"
    return f"{first['msg'].removeprefix('Value error, ')}, found {_shown(found)}"


def _mistyped(key: str, table: Any, known: Sequence[str]) -> str:
    """Name what stands in a table, and is no key of it, in the place of a key that is missing."""
    written = map(str, table) if isinstance(table, Mapping) else ()
    others = (each for each in written if each not in known and nearest(each, (key,)))
    return next((f" (found '{each}')" for each in others), "")


def one_of_several(model: type[BaseModel], path: Sequence[str]) -> str:
    """Say how entries of a list of tables are written, where a path leads to such a list."""
    annotation: Any = model
    for part in path:
        owners = [each for each in _models(annotation) if part in each.model_fields]
        annotation = owners[0].model_fields[part].annotation if owners else None
    if get_origin(annotation) is not tuple or not _models(annotation):
        return ""
    key, entry = ".".join(path), "layer" if path[-1] == "layers" else "entry"
    return f"expected [[{key}]], once per {entry}, found [{key}]"


def _elsewhere(key: str, model: type[BaseModel]) -> str:
    """Hint at a table that has the key, where it was looked for at the top."""
    for table, field in model.model_fields.items():
        if get_origin(field.annotation) is tuple:
            continue
        if any(key in each.model_fields for each in _models(field.annotation)):
            return f" (did you mean '{table}.{key}'?)"
    return ""


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        text = f"[{', '.join(map(_shown, value))}]"
    else:
        text = str(value) if isinstance(value, date | time) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _written_path(error: Any, document: Any) -> list[str]:
    """Keep the parts of an error's location that the file writes; drop unions' tags."""
    location, path, here = error["loc"], [], document
    for position, part in enumerate(location):
        missing = position == len(location) - 1 and error["type"] == "missing"
        if isinstance(here, Mapping):
            if part in here:
                here = here[part]
            elif part in (here.get("type"), here.get("name")) or not missing:
                continue
        elif isinstance(here, list | tuple) and isinstance(part, int) and part < len(here):
            here = here[part]
        else:
            continue
        path.append(str(part))
    return path


def _fields(annotation: Any, location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields of the model that pydantic's location leads to."""
    for part in location:
        annotation = _step(annotation, part)
    model = _models(annotation)
    return [name for each in model for name in each.model_fields]


def _step(annotation: Any, part: int | str) -> Any:
    """Follow one part of a location: an index, a union's tag, or a field's name."""
    models = _models(annotation)
    if isinstance(part, int):
        return annotation
    for model in models:
        if part in _tags(model):
            return model
    for model in models:
        if part in model.model_fields:
            return model.model_fields[part].annotation
    return annotation


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    for key in ("type", "name"):
        field = model.model_fields.get(key)
        if field is not None and get_origin(field.annotation) is Literal:
            return get_args(field.annotation)
    return ()


def _models(annotation: Any) -> list[type[BaseModel]]:
    """All models that an annotation can hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Annotated, Union, UnionType, tuple, list):
        return [model for argument in get_args(annotation) for model in _models(argument)]
    return []
