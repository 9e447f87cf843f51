"""The notebooks: they run from top to bottom, unsolved ones too, and solutions solve them."""

import ast
import json

import pytest

from tests.docs.pages import ROOT

FOLDER = ROOT / "docs" / "exercises"
pytestmark = [pytest.mark.usefixtures("mathematics"), pytest.mark.slow]


def execute(name, monkeypatch):
    """Run a notebook's cells in their order, in its folder; return what they defined."""
    monkeypatch.chdir(FOLDER)
    monkeypatch.syspath_prepend(str(FOLDER))
    cells = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    namespace = {"__name__": name}
    for i, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{name}, cell {i}", "exec"), namespace)
    return namespace


def test_the_strided_rule_is_still_to_be_written(monkeypatch):
    assert not execute("strided_rule", monkeypatch)["report"]


@pytest.mark.slow
def test_the_solution_writes_the_strided_rule(monkeypatch):
    assert execute("strided_rule_solution", monkeypatch)["report"]


@pytest.mark.slow
def test_the_solution_finds_all_broken_rules(monkeypatch):
    assert execute("broken_rules_solution", monkeypatch)["right"] == 5


def test_each_broken_rule_shows_the_evidence_that_the_solution_names(monkeypatch):
    found = execute("broken_rules", monkeypatch)
    assert found["right"] == 0
    evidence, w = found["evidence"], found["w"]

    def failing(letter, **options):
        rows = evidence(letter, **options).rows
        return {(row.tensor, row.against) for row in rows if not row.passed}

    assert {against for _, against in failing("A", differences=False)} == {"second order"}
    assert not failing("E", w=w + w[::-1], second_order=False)
    assert failing("B", w=w + w[::-1], second_order=False)
    assert {against for _, against in failing("C", exact=True)} == {"whole numbers"}
    assert {t for t, _ in failing("D", second_order=False)} == {"w"}


def test_notebooks_are_stored_without_results():
    for path in FOLDER.glob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            assert not cell.get("outputs")
            if cell["cell_type"] == "code":
                ast.parse("".join(cell["source"]))
