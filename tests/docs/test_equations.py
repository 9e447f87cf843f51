"""The map of formulas: complete, and every link names a definition of the file it leads to."""

import ast
import re

import pytest

from jcnn import ops
from tests.docs.pages import PAGES, ROOT

PAGE = ROOT / "docs" / "equations.md"
LINK = re.compile(r"\[`(?P<name>[\w.]+)`\]\((?P<path>[^()#\s]+\.py)#(?P<anchor>[\w.]+)\)")


def definitions(source):
    """Every function, class and module-level name; and the pullback of each rule."""
    found = set()

    def visit(node, prefix):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                found.add(prefix + child.name)
                found.update(ast.unparse(decorator) for decorator in child.decorator_list)
                visit(child, f"{prefix}{child.name}.")
            elif isinstance(child, ast.Assign | ast.AnnAssign) and not prefix:
                targets = child.targets if isinstance(child, ast.Assign) else [child.target]
                names = (n for target in targets for n in ast.walk(target))
                found.update(n.id for n in names if isinstance(n, ast.Name))

    visit(ast.parse(source), "")
    return found


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_into_the_code_name_a_definition(page):
    for link in LINK.finditer(page.read_text(encoding="utf-8")):
        source = (page.parent / link["path"]).read_text(encoding="utf-8")
        assert link["anchor"] in definitions(source), link[0]
        assert link["name"].endswith(link["anchor"]), link[0]


def test_no_link_leads_to_a_line_that_moves():
    for page in PAGES:
        assert not re.search(r"\.py#L\d", page.read_text(encoding="utf-8")), page


def test_every_operation_is_on_the_page():
    linked = {link["name"] for link in LINK.finditer(PAGE.read_text(encoding="utf-8"))}
    assert {f"ops.{name}" for name in ops.__all__} <= linked


def test_a_pullback_is_found_by_its_rule():
    source = "class A:\n    def f(self): ...\n\n@_g.pullback\ndef _(y): ...\n\nb, c = 1, 2\n"
    assert {"A", "A.f", "_g.pullback", "b", "c"} <= definitions(source)
