"""What an experiment's file may say: layers, optimizers, schedules, from their docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, get_args

from jcnn.errors import UserError, unknown
from jcnn.layers import AnyLayer, Layer
from jcnn.optimizers import Preparation
from jcnn.optimizers.arguments import file_words
from jcnn.optimizers.catalogue import full_name, optimizers, refusal, schedules, transformations
from jcnn.optimizers.transformation import places

_REQUIRED = "required"


def layer_entries() -> dict[str, dict[str, Any]]:
    """Return every layer by its ``type``: one line, and each field's default and meaning.

    >>> layer_entries()["max_pool"]["fields"]["window"]["default"]
    'required'
    """
    kinds: tuple[type[Layer], ...] = get_args(get_args(AnyLayer)[0])
    return {str(kind.model_fields["type"].default): _layer(kind) for kind in kinds}


def shared_by_layers() -> str:
    """Say what every layer takes beside its own fields.

    >>> shared_by_layers().split(":")[0]
    'every layer takes name, too'
    """
    meaning = _plain(_attributes(Layer.__doc__ or "")["name"])
    return f"every layer takes name, too: {meaning[:1].lower()}{meaning[1:]}"


def _layer(kind: type[Layer]) -> dict[str, Any]:
    meanings: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        meanings |= _attributes(base.__doc__ or "")
    fields = {
        key: {
            "default": _REQUIRED if field.is_required() else _written(field.get_default()),
            "meaning": _plain(meanings.get(key, "")),
        }
        for key, field in kind.model_fields.items()
        if key not in ("type", "name")
    }
    line, *more = (_plain(part) for part in _paragraphs(inspect.getdoc(kind) or ""))
    return {"line": re.sub(r"^`\w+`:? ?", "", line), "more": more, "fields": fields}


def _paragraphs(docstring: str) -> list[str]:
    """Split what stands before sections and examples."""
    text = re.split(r"\n\n(?=Attributes:\n|>>> )", docstring)[0]
    return text.split("\n\n")


def _plain(text: str) -> str:
    r"""Write reStructuredText as a terminal's line.

    >>> _plain("See :func:`~jax.jit`, with ``slope``\nas it is.")
    'See `jax.jit`, with `slope` as it is.'
    """
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`")
    return " ".join(text.split())


def optimizer_entries() -> dict[str, dict[str, Any]]:
    """Return every optimizer by its name: one line, and each argument's default."""
    return _functions(optimizers())


def transformation_entries() -> dict[str, dict[str, Any]]:
    """Return what may stand before or after an optimizer, likewise, and ``stands_in``: where.

    >>> transformation_entries()["reduce_on_plateau"]["stands_in"]
    ['after']
    """
    meanings = _attributes(Preparation.__doc__ or "")
    beside = {
        key: {"default": _written(field.get_default()), "meaning": _plain(meanings[key])}
        for key, field in Preparation.model_fields.items()
        if key != "name"
    }
    return {
        name: {**entry, "fields": {**entry["fields"], **beside}, "stands_in": [*places(name)]}
        for name, entry in _functions(transformations()).items()
        if places(name)
    }


def schedule_entries() -> dict[str, dict[str, Any]]:
    """Return every schedule by its name: one line, and each argument's default."""
    return _functions(schedules())


def _functions(known: Mapping[str, Callable[..., Any]]) -> dict[str, dict[str, Any]]:
    return {name: _function(function) for name, function in sorted(known.items())}


def _function(function: Callable[..., Any]) -> dict[str, Any]:
    said = inspect.getdoc(function) or full_name(function)
    meanings = _attributes(said, "Args")
    fields = {
        key: {
            "default": _REQUIRED
            if parameter.default is parameter.empty
            else _written(parameter.default),
            "meaning": file_words(key) or _plain(meanings.get(key, "")),
        }
        for key, parameter in inspect.signature(function).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    return {"line": _plain(said.split("\n")[0]), "more": [], "fields": fields}


def _attributes(docstring: str, heading: str = "Attributes") -> dict[str, str]:
    r"""Read ``key: meaning`` from a section of a docstring; what is further in goes on.

    >>> _attributes("A layer.\n\nAttributes:\n    slope: Of the\n        left half.\n\nMore.")
    {'slope': 'Of the left half.'}
    """
    _, _, section = inspect.cleandoc(docstring).partition(f"\n{heading}:\n")
    meanings: dict[str, str] = {}
    key = ""
    for line in section.splitlines():
        if line and not line.startswith(" "):
            break
        found = re.match(r"(?: {2}| {4})(\w+)(?: \(.*?\))?: (.*)", line)
        if found:
            key = found[1]
            meanings[key] = found[2].strip()
        elif key and line.strip():
            meanings[key] += f" {line.strip()}"
    return meanings


def _written(default: Any) -> str:
    name = getattr(default, "name", None)
    if isinstance(name, str):
        return f'"{name}"'
    if default is None:
        return "not set"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, str):
        return f'"{default}"'
    if isinstance(default, tuple):
        return f"[{', '.join(map(_written, default))}]"
    return getattr(default, "__name__", None) or str(default)


def chosen(entries: Mapping[str, Any], name: str | None, what: str) -> dict[str, Any]:
    """Return the entry of a name, or all.

    Raises:
        UserError: There is none of that name.
    """
    if name is None:
        return dict(entries)
    if name not in entries:
        refused = refusal(name) if what == "optimizers" else None
        raise UserError(f"{what}: {refused or unknown(name, entries)}")
    return {name: entries[name]}


def print_entries(entries: Mapping[str, Any]) -> None:
    """Print names with their line and fields; of a single entry what each field means, too."""
    from rich.console import Console
    from rich.padding import Padding

    console = Console(highlight=False, markup=False)
    titled = len(entries) == 1
    for name, entry in entries.items():
        stands = " or ".join(f"optimizer.{place}" for place in entry.get("stands_in", ()))
        if stands and not titled:
            console.print("\nTransformations, entries of before and after in [optimizer]:")
            titled = True
        where = f" (in {stands})" if stands else ""
        style = "bold" if len(entries) > 1 else None
        console.print(f"{name}{where}: {entry['line']}", style=style)
        fields = entry["fields"].items()
        if len(entries) > 1:
            words = ", ".join(f"{key} ({field['default']})" for key, field in fields)
            console.print(f"    {words}" if words else "    no keys", style="dim")
            continue
        for paragraph in entry["more"]:
            console.print(paragraph)
        for key, field in fields:
            console.print(f"  {key} = {field['default']}")
            if field["meaning"]:
                console.print(Padding(field["meaning"], (0, 0, 0, 6), expand=False))
