"""The documentation's pages as tests see them: their Python blocks and their links."""

from __future__ import annotations

import doctest
import re
from contextlib import chdir
from functools import cache
from pathlib import Path
from typing import Any

import jax
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDS = re.compile(r"^<!-- needs: (.+) -->$", re.MULTILINE)


@cache
def run(page: Path) -> dict[str, Any]:
    """Run the page's Python blocks in one namespace, which is returned, from the root folder.

    A block with prompts is a doctest, whose outputs are compared; another one is executed. A page
    may choose JAX's precision as its reader would; the tests' own is restored. Packages that a page
    needs beyond jcnn's own stand in a comment; without them the test is skipped.
    """
    text = page.read_text(encoding="utf-8")
    for packages in NEEDS.findall(text):
        for package in packages.split(", "):
            pytest.importorskip(package)
    namespace: dict[str, Any] = {"__name__": page.stem}
    precision = jax.config.jax_enable_x64
    try:
        with chdir(ROOT):
            for block in BLOCK.finditer(text):
                line = text.count("\n", 0, block.start(1))
                if ">>>" in block[1]:
                    _run_doctest(block[1], namespace, page, line)
                else:
                    code = compile("\n" * line + block[1], page, "exec", dont_inherit=True)
                    exec(code, namespace)
    finally:
        jax.config.update("jax_enable_x64", precision)
    return namespace


def _run_doctest(source: str, namespace: dict[str, Any], page: Path, line: int) -> None:
    test = doctest.DocTestParser().get_doctest(source, {}, page.name, str(page), line)
    test.globs = namespace
    failures: list[str] = []
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    doctest.DocTestRunner(optionflags=flags).run(test, out=failures.append, clear_globs=False)
    assert not failures, "".join(failures)


def local_links(page: Path) -> list[str]:
    """Return the targets of the page's links that are neither addresses nor anchors of its own."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    targets = re.findall(r"\]\(([^()\s]+)\)", prose) + re.findall(r"^\[.+\]: (\S+)", prose, re.M)
    return [target for target in targets if not re.match(r"\w+:|#", target)]
