"""Experiments' files as somebody might mistype them, drawn by Hypothesis."""

from __future__ import annotations

import tomllib
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from jcnn.config import to_toml

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))
# What TOML can write and JSON can't, as it stands in the text.
DATE = "<1979-05-27>"
WORDS = ("adam", "conv", "digits", "SAME", "kernels", "3 epochs", "softmax_cross_entropy", "relu")
NUMBERS = (0, -1, 1, 2, 3, 7, 1_000_000, 2**31, 2**63 - 1, 10**30)
FLOATS = (0.0, -0.5, 0.5, 1.5, 1e-300, 1e30, float("inf"), float("-inf"), float("nan"))

scalars = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(FLOATS),
    st.booleans(),
    st.sampled_from(WORDS),
    st.text(max_size=8),
    st.just(DATE),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(("name", "type", "schedule", "window", "x")), inner),
    ),
    max_leaves=4,
)

WAYS = (*("nudge",) * 5, "set", "set", "remove", "rename", "add", "repeat")

Key = tuple[str | int, ...]


@dataclass(frozen=True)
class Altered:
    """An altered file: its text, and the keys that were altered (none: the text itself was)."""

    source: str
    text: str
    keys: tuple[Key, ...]


def places(document: Any, path: Key = ()) -> list[Key]:
    """Return the path to everything in a document."""
    if isinstance(document, dict):
        children = list(document.items())
    elif isinstance(document, list):
        children = list(enumerate(document))
    else:
        return [path]
    found = [path] if path else []
    for key, child in children:
        found += places(child, (*path, key))
    return found


@st.composite
def altered(draw: st.DrawFn, sources: list[Path] = CONFIGS) -> Altered:
    """Change one to three keys of a file, or its text."""
    source = draw(st.sampled_from(sources))
    document = tomllib.loads(source.read_text(encoding="utf-8"))
    keys = []
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.sampled_from(places(document) or [("data",)]))
        keys.append(_alter(draw, document, key))
    text = to_toml(document).replace(f'"{DATE}"', DATE.strip("<>"))
    if draw(st.integers(0, 9)) == 0:
        keys, cut = [], draw(st.integers(0, len(text)))
        text = text[:cut] + draw(st.sampled_from(("", "\x00", "]", '"', "= =", "[[layers]]\n")))
    return Altered(source.name, text, tuple(keys))


def _alter(draw: st.DrawFn, document: dict[str, Any], key: Key) -> Key:
    """Set, remove, rename, add or repeat what stands at a key; return the key that shows it."""
    here: Any = document
    for part in key[:-1]:
        here = here[part]
    last = key[-1]
    match draw(
        st.sampled_from((*("nudge",) * 5, "set", "set", "remove", "rename", "add", "repeat"))
    ):
        case "remove":
            del here[last]
        case "rename" if isinstance(here, dict):
            renamed = f"{last}x"
            here[renamed] = here.pop(last)
        case "add" if isinstance(here, dict):
            added = draw(st.sampled_from(("units", "lr", "window", "name", "épochs", "a b")))
            here[added] = draw(values)
            return (*key[:-1], added)
        case "repeat" if isinstance(here, list):
            here.insert(int(last), deepcopy(here[last]))
        case "nudge":
            here[last] = draw(_nudged(here[last]))
        case _:
            here[last] = draw(values)
    return key


def _nudged(value: Any) -> st.SearchStrategy[Any]:
    """Return values of the same kind, some of which may be right."""
    if isinstance(value, bool):
        return st.just(not value)
    if isinstance(value, int):
        return st.sampled_from((value + 1, value - 1, 2 * value, 1000 * value, 1, 2, 5))
    if isinstance(value, float):
        return st.sampled_from((value / 2, value * 10, -value, 1.0, 0.0, 1e10))
    if isinstance(value, str):
        return st.sampled_from((*WORDS, value.upper(), value[:-1]))
    return values


def names_a_key(sentence: str, case: Altered) -> bool:
    """Whether a sentence names what was altered: a key or a part of it, or a layer, or the file."""
    if not case.keys:
        return True
    parts = {str(part) for key in case.keys for part in key if not isinstance(part, int)}
    parts |= {"layer ", "the model's output"} if "layers" in parts else set()
    parts |= {"an example of the data is"} if "data" in parts else set()
    return any(part in sentence for part in parts)
