"""The recipes of CONTRIBUTING.md do what they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, TypeAdapter

from jcnn.data import AnyData
from jcnn.layers import AnyLayer

PAGE = Path(__file__).resolve().parents[1] / "CONTRIBUTING.md"
RECIPE = re.compile(r"^## Adding an? ([a-z ]+)$(.*?)(?=^## )", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RECIPES = dict(RECIPE.findall(PAGE.read_text(encoding="utf-8")))


def followed(title: str) -> dict:
    """Run a recipe's blocks in one namespace, which is returned."""
    namespace: dict = {"__name__": "recipe"}
    blocks = BLOCK.findall(RECIPES[title])
    assert blocks
    for block in blocks:
        exec(compile(block, f"CONTRIBUTING.md: {title}", "exec", dont_inherit=True), namespace)
    return namespace


@pytest.mark.parametrize("title", ["operation", "layer", "data set", "lowering"])
def test_a_recipe_runs(title):
    followed(title)


@pytest.mark.parametrize(
    ("title", "kind", "union", "key"),
    [("layer", "Clip", AnyLayer, "type"), ("data set", "Stripes", AnyData, "name")],
)
def test_what_was_added_is_found_by_its_name_in_the_union(title, kind, union, key):
    added = followed(title)[kind]
    adapter = TypeAdapter(Annotated[union | added, Field(discriminator=key)])
    tag = added.model_fields[key].default
    assert type(adapter.validate_python({key: tag})) is added


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_names_files_that_are_there(title):
    for path in re.findall(r"`((?:jcnn|tests|docs)/[\w/.]+)`", RECIPES[title]):
        assert (PAGE.parent / path).exists(), path
