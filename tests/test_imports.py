"""Imports point down the house: no room knows one above it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jcnn

PACKAGE = Path(jcnn.__file__).parent
# From the bottom to the top; the rooms of one row may know each other.
ROWS = (
    ("console", "errors", "folders", "processor", "remains", "signals"),
    ("departure",),
    ("axes", "fields", "geometry", "precision", "validation"),
    ("lowering",),
    ("ops", "reference"),
    ("proof",),
    ("frameworks",),
    ("lax",),
    ("flax", "equinox"),
    ("layers", "losses", "augmentations", "optimizers", "data", "views"),
    ("config",),
    ("runs", "weights"),
    ("training",),
    ("export", "report", "sweep", "benchmark", "inspection", "scaling"),
    ("demo",),
    ("cli",),
    ("__main__",),
)
HEIGHT = {room: height for height, row in enumerate(ROWS) for room in row}
# What a room may not know although it lies below.
APART = {"reference": {"ops", "lowering"}, "ops": {"reference"}, "data": {"ops", "layers"}}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(module: str) -> str:
    return module.split(".")[1] if module.startswith("jcnn.") else ""


def imported(file: Path) -> set[str]:
    """Rooms that a file imports, at its top or within a function; types alone don't count."""
    rooms = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            rooms.update(room_of(alias.name) for alias in node.names if alias.name[:4] == "jcnn")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module[:4] == "jcnn":
            names = (f"jcnn.{alias.name}" for alias in node.names)
            rooms.update(map(room_of, names if node.module == "jcnn" else [node.module]))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(file.read_text(encoding="utf-8")))
    return {room for room in rooms if room in HEIGHT}


def test_every_room_has_its_height():
    found = {file.relative_to(PACKAGE).parts[0].removesuffix(".py") for file in FILES}
    assert found - {"__init__"} <= set(HEIGHT)


def test_the_house_that_contributing_draws_has_every_room():
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    house = text.split("## The house")[1].split("```")[1]
    drawn = {word for line in house.splitlines() for word in re.split(r"\s{3,}", line)[0].split()}
    drawn |= {"proof", "reference"}  # in a column of their own
    assert {"proof", "reference"} <= set(house.split())
    assert set(HEIGHT) - {"__main__"} <= drawn


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_no_import_points_up(file):
    own = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    above = {room for room in imported(file) if HEIGHT[room] > HEIGHT.get(own, 0)}
    assert own == "__init__" or not above, f"{own} imports {above}, which lie above it"
    assert not imported(file) & APART.get(own, set())


def loaded(statement: str) -> set[str]:
    """Modules that a statement loads in a fresh process."""
    program = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
    )
    return set(done.stdout.split())


def test_the_package_loads_nothing_until_it_is_used():
    modules = loaded("import jcnn")
    assert {name for name in modules if name.startswith("jcnn")} == {"jcnn"}
    assert not modules & {"jax", "numpy", "pydantic"}


def test_every_room_loads_by_its_name():
    rooms = sorted(set(jcnn.__all__) & set(HEIGHT))
    assert {"layers", "losses", "augmentations", "optimizers", "data", "training"} <= set(rooms)
    modules = loaded(f"import jcnn; [getattr(jcnn, room) for room in {rooms}]")
    assert {f"jcnn.{room}" for room in rooms} <= modules
    assert "torch" not in modules
    assert not any(
        name.startswith("jcnn.benchmark.torch.") for name in modules - {"jcnn.benchmark.torch.peer"}
    )


def test_the_adapters_load_by_their_names_or_say_what_to_install():
    assert "jcnn.lax" in loaded("import jcnn; jcnn.lax")
    for name, framework in (("flax", "Flax"), ("equinox", "Equinox")):
        program = f"import sys; sys.modules['{name}'] = None; import jcnn; jcnn.{name}"
        with pytest.raises(subprocess.CalledProcessError) as failed:
            loaded(program)
        said = f"jcnn.{name} needs {framework}: pip install 'jcnn[{name}]'"
        assert failed.value.stderr.strip().endswith(f"ModuleNotFoundError: {said}")


def test_a_rule_is_checked_without_the_experiments():
    modules = loaded("from jcnn.proof import check_rule")
    assert not {room for room in map(room_of, modules) if HEIGHT.get(room, 0) > HEIGHT["proof"]}
