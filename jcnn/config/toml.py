"""Write plain dicts, lists, strings, numbers and booleans as TOML (tomllib only reads)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any


def to_toml(document: Mapping[str, Any]) -> str:
    r"""Write a document: keys first, then a ``[table]`` each, then ``[[tables]]``.

    >>> print(to_toml({"seed": 0, "data": {"name": "digits"}, "layers": [{"type": "relu"}]}))
    seed = 0
    <BLANKLINE>
    [data]
    name = "digits"
    <BLANKLINE>
    [[layers]]
    type = "relu"
    <BLANKLINE>
    """
    plain, sections = [], []
    for key, value in document.items():
        if isinstance(value, Mapping):
            sections.append(f"[{_key(key)}]\n{_lines(value)}")
        elif isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
            sections += [f"[[{_key(key)}]]\n{_lines(table)}" for table in value]
        else:
            plain.append(f"{_key(key)} = {_value(value)}\n")
    return "\n".join(["".join(plain), *sections])


def _lines(table: Mapping[str, Any]) -> str:
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in table.items())


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are TOML's, except that TOML wants DEL escaped as well.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + "}"
    return _array([_value(entry) for entry in value])


def _array(entries: list[str]) -> str:
    line = f"[{', '.join(entries)}]"
    if len(line) <= 80:
        return line
    return "[\n" + "".join(f"    {entry},\n" for entry in entries) + "]"
