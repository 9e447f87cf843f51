"""The reference of an experiment's file, from the types that read it: key, type, range, default."""

from __future__ import annotations

import inspect
import json
import re
import tomllib
import typing
from typing import Any

import griffe
from docstrings import to_markdown
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from jcnn.augmentations import AnyAugmentation
from jcnn.config import Distributed, Experiment, Mesh, Training
from jcnn.config.toml import to_toml
from jcnn.config.tracking import Tracking
from jcnn.config.training import EarlyStopping, InitialWeights
from jcnn.data import AnyData
from jcnn.data.mel import MelFrontEnd
from jcnn.layers import AnyLayer
from jcnn.layers.initializers import AnyInitializer
from jcnn.losses import AnyLoss
from jcnn.optimizers import Optimizer, optimizers, schedules, transformations
from jcnn.optimizers.arguments import file_words
from jcnn.optimizers.transformation import Preparation, places
from jcnn.sweep import Plan

# What a required key may say in an example; the other keys keep their defaults.
SAMPLES: dict[str, Any] = {
    "features": 16, "window": 3, "factor": 2, "shape": [4, 4, 1], "padding": 2, "pixels": 2, "size": 4,
    "folder": "photographs", "classes": 3, "layers": [{"type": "dense", "features": 10}],
    "value": 0.5, "std": 0.1, "bound": 0.1, "gain": 1.0,
}  # fmt: skip


def kinds(union: Any) -> list[type[BaseModel]]:
    """The members of an ``Annotated`` union."""
    arguments = typing.get_args(union)
    members = typing.get_args(arguments[0]) or (arguments[0],)
    return [kind for kind in members if inspect.isclass(kind) and issubclass(kind, BaseModel)]


def described(kind: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """A type's text in Markdown, and what it says of each key, its bases' words included."""
    said: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel and base.__doc__:
            for section in _sections(base):
                if section.kind is griffe.DocstringSectionKind.attributes:
                    said.update(
                        {item.name: " ".join(item.description.split()) for item in section.value}
                    )
    texts = [s.value for s in _sections(kind) if s.kind is griffe.DocstringSectionKind.text]
    return "\n\n".join(texts), said


def _sections(kind: type[BaseModel]) -> list[Any]:
    text = to_markdown(inspect.cleandoc(kind.__dict__.get("__doc__") or ""))
    return griffe.Docstring(text).parse("google", warnings=False)


def field_words(kind: type[BaseModel], name: str, field: FieldInfo) -> str:
    """Type and range of a key; where its own check says them, in the words of its message."""
    adapter = TypeAdapter(typing.Annotated[field.annotation, field])
    try:
        schema = adapter.json_schema()
    except Exception:  # a type that JSON does not know
        schema = {}
    return words(schema, schema.get("$defs", {})) or _refusal(adapter)


def _refusal(adapter: TypeAdapter[Any]) -> str:
    try:
        adapter.validate_python(object())
    except ValidationError as error:
        return error.errors()[0]["msg"].removeprefix("expected ")
    return "anything"


def words(schema: dict[str, Any], defs: dict[str, Any]) -> str:
    """A JSON schema in words."""
    if "$ref" in schema:
        schema = defs[schema["$ref"].rpartition("/")[2]]
        return "table" if schema.get("type") == "object" else words(schema, defs)
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(v)}`" for v in schema["enum"])
    if "discriminator" in schema:
        return "one of " + ", ".join(f"`{name}`" for name in schema["discriminator"]["mapping"])
    if "anyOf" in schema:
        parts = [words(part, defs) for part in schema["anyOf"] if part.get("type") != "null"]
        return " or ".join(parts) if all(parts) else ""
    return _plain(schema, defs)


def _plain(schema: dict[str, Any], defs: dict[str, Any]) -> str:
    kind = schema.get("type")
    if kind == "array":
        items = schema.get("prefixItems") or [schema.get("items", {})]
        inner = words(items[0], defs) or "values"
        count = (
            f" of {len(items)}"
            if len(items) > 1
            else ", at least one"
            if schema.get("minItems")
            else ""
        )
        return f"list{count}: {inner}"
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    named = {
        "integer": "integer",
        "number": "number",
        "boolean": "true or false",
        "string": "text",
        "object": "table",
    }
    bounds = [f"{sign} {schema[key]}" for key, sign in limits.items() if key in schema]
    return " ".join(filter(None, [named.get(kind or "", ""), ", ".join(bounds)]))


def _default(kind: type[BaseModel], name: str, field: FieldInfo) -> str:
    if (kind, name) == (Experiment, "name"):  # which reading the file gives it
        return "the file's stem"
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_none=True)
        if "name" not in value:
            return "its defaults"
        value = {"name": value["name"]}
    if value is None:
        return "not given"
    if isinstance(value, dict) and len(value) == 1:
        (value,) = value.values()
    text = json.dumps(value, ensure_ascii=False)
    return f"`{text}`" if len(text) < 60 else "see the text"


def table(kind: type[BaseModel], tag: str | None = None) -> str:
    """The keys of one table of the file."""
    text, said = described(kind)
    rows = ["| key | type and range | default | meaning |", "|---|---|---|---|"]
    for name, field in kind.model_fields.items():
        if name == tag:
            continue
        cells = [
            f"`{name}`",
            field_words(kind, name, field),
            _default(kind, name, field),
            said.get(name) or ("see above" if re.search(rf"\b{name}\b", text) else ""),
        ]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) if len(rows) > 2 else "No further keys."


def example(kind: type[BaseModel], tag: str, head: str) -> str:
    """The shortest table of this kind, checked by reading it."""
    given = {
        n: SAMPLES[n] for n, f in kind.model_fields.items() if f.is_required() and n in SAMPLES
    }
    document = {tag: kind.model_fields[tag].default, **given}
    if head == "inline":
        inside = ", ".join(f"{k} = {json.dumps(v)}" for k, v in document.items())
        return f"```toml\n{{{inside}}}\n```"
    kind.model_validate(tomllib.loads(to_toml(document)))
    return f"```toml\n{head}\n{to_toml(document).strip()}\n```"


def page(title: str, lead: str, union: Any, tag: str, head: str) -> str:
    """One page: every kind with its text, its keys and an example."""
    parts = [f"# {title}\n\n{lead}\n"]
    for kind in kinds(union):
        text, _ = described(kind)
        parts.append(
            f"## `{kind.model_fields[tag].default}`\n\n{text}\n\n{table(kind, tag)}\n\n{example(kind, tag, head)}\n"
        )
    return "\n".join(parts)


def _signatures(functions: Any) -> str:
    rows = ["| name | arguments | what it is |", "|---|---|---|"]
    for name, function in sorted(functions.items()):
        if name.startswith("_"):  # Optax's own
            continue
        parameters = inspect.signature(function).parameters.values()
        shown = ", ".join(
            f"`{p.name}`" + ("" if p.default is p.empty else f" = {_short(p.default)}")
            for p in parameters
        )
        said = (inspect.getdoc(function) or "").partition("\n")[0]
        rows.append(f"| `{name}` | {shown} | {said} |".replace("||", "\\|\\|"))
    return "\n".join(rows)


def _short(value: Any) -> str:
    return f"`{value!r}`" if isinstance(value, bool | int | float | str | None) else "…"


def _experiment() -> str:
    """The page of all that stands outside of layers and the like."""
    return f"""# The experiment's file

One TOML file says everything. Unknown keys are refused, with the nearest one that there is; so are values out of range, before
anything is computed. `--set table.key=value` takes the place of a value of the file; layers are numbered from 0 (`--set layers.0.features=8`).

## At the top

{table(Experiment)}

## `[training]`

{table(Training)}

### `early_stopping`

{table(EarlyStopping)}

### `initial_weights`

{table(InitialWeights)}

## `[mesh]`

{table(Mesh)}

## `[distributed]`

{table(Distributed)}

## `[tracking]`

{table(Tracking)}

## `[sweep]`

What `jcnn sweep` varies; `jcnn train` passes the table over.

{table(Plan)}
"""


def _optimizers() -> str:
    """The page of `[optimizer]`."""
    return f"""# Optimizers and schedules

`[optimizer]` names an optimizer of Optax; the further keys are its arguments. A number may be a schedule, a table of its own; `"9 epochs"`
stands for that many epochs' steps. Where Optax takes a tree or a function of the parameters, a file says which by a word: `mask`, and what ends in
`_mask`, is {file_words("mask")}; `muon_weight_dimension_numbers` is {file_words("muon_weight_dimension_numbers")}.

```toml
[optimizer]
name = "sgd"
learning_rate = {{schedule = "warmup_cosine_decay_schedule", init_value = 0.0, peak_value = 0.1, warmup_steps = "1 epochs", decay_steps = "10 epochs"}}
momentum = 0.9
before = [{{name = "clip_by_global_norm", max_norm = 1.0}}]
```

{table(Optimizer, "name")}

An entry of `before` or `after` names one of the transformations below; its further keys are their arguments, and

{table(Preparation, "name")}

## Optimizers

{_signatures(optimizers())}

## Schedules

{_signatures(schedules())}

## Transformations

`reduce_on_plateau` and `fixed_norms` change the optimizer's updates, and stand in `after` alone.

{_signatures({name: function for name, function in transformations().items() if places(name)})}
"""


def pages() -> dict[str, str]:
    """All pages of the reference of the file, by their place."""
    return {
        "reference/config/index.md": _experiment(),
        "reference/config/layers.md": page(
            "Layers", "Entries of `[[layers]]`, in their order.", AnyLayer, "type", "[[layers]]"
        ),
        "reference/config/initializers.md": page(
            "Initializers",
            'How a layer\'s weights begin: `initializer = "glorot_uniform"`, or a table where it has arguments.',
            AnyInitializer,
            "name",
            "inline",
        ),
        "reference/config/losses.md": page(
            "Losses",
            "`[loss]`, what is minimised; without a `name` it is `softmax_cross_entropy`.",
            AnyLoss,
            "name",
            "[loss]",
        ),
        "reference/config/augmentations.md": page(
            "Augmentations",
            "Entries of `augment` in `[training]`: random changes of the training images.",
            AnyAugmentation,
            "name",
            "inline",
        ),
        "reference/config/data.md": page(
            "Data sets", "`[data]`, what is learned from.", AnyData, "name", "[data]"
        )
        + f"\n## `[data.front_end]`\n\n{described(MelFrontEnd)[0]}\n\n{table(MelFrontEnd)}\n",
        "reference/config/optimizers.md": _optimizers(),
    }
