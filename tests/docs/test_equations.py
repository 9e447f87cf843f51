"""The map of formulas: complete, and every link at the line that defines what it names."""

import runpy
import subprocess
import sys

import pytest

from jcnn import ops
from tests.docs.pages import PAGES, ROOT

SCRIPT = ROOT / "scripts" / "link_lines"
PAGE = ROOT / "docs" / "equations.md"
script = runpy.run_path(str(SCRIPT))


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_line_links_stand_at_the_definition(page):
    stale = [
        f"{link['name']}: {link['path']}#L{link['line']}"
        for link in script["LINK"].finditer(page.read_text(encoding="utf-8"))
        if script["line_of"](link["name"], page.parent / link["path"]) != int(link["line"])
    ]
    assert not stale, "run scripts/link_lines to bring the line numbers up to date"


def test_every_link_to_a_line_names_a_definition():
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(".py#L") == len(script["LINK"].findall(text))


def test_every_operation_is_on_the_page():
    linked = {link["name"] for link in script["LINK"].finditer(PAGE.read_text(encoding="utf-8"))}
    assert {f"ops.{name}" for name in ops.__all__} <= linked


def test_definitions_are_found_by_qualified_name():
    source = "class A:\n    def f(self): ...\n\n@A\ndef g():\n    def h(): ...\n\nb, c = g(), 1\n"
    found = {"A": 1, "A.f": 2, "g": 5, "g.h": 6, "b": 8, "c": 8}
    assert script["definitions"](source) == found


def test_stale_numbers_are_rewritten(tmp_path):
    (tmp_path / "code.py").write_text("import os\n\n\ndef f():\n    return os\n")
    page = tmp_path / "page.md"
    page.write_text("[`module.f`](code.py#L1) and [prose](code.py)")
    assert script["relinked"](page) == "[`module.f`](code.py#L4) and [prose](code.py)"


def test_a_name_that_is_gone_is_reported(tmp_path):
    (tmp_path / "code.py").write_text("def f(): ...\n")
    page = tmp_path / "page.md"
    page.write_text("[`g`](code.py#L1)")
    with pytest.raises(LookupError, match="`g` is not defined in"):
        script["relinked"](page)


def test_unknown_arguments_end_with_the_usage():
    ended = subprocess.run(
        [sys.executable, SCRIPT, "--chek"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "usage:" in ended.stderr
