"""Links from pages into the code: to the very line, on a page of the site that shows the file."""

from __future__ import annotations

import ast
import os
import re
from functools import cache
from pathlib import Path, PurePath, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(\]\(|^\[[^\]\n]+\]: )(?![a-z]+:|#)([^()\s#]*)(#[^()\s]*)?", re.MULTILINE)
PAGES = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "index.md",
}
# Where *Reference*, a word in a page's text, leads on the site; in a checkout there are no such pages.
REFERENCE = {"index.md": "ops.md", "guides/own_schedule.md": "config/optimizers.md"}
LANGUAGES = {".toml": "toml", ".py": "python", ".md": "markdown", ".js": "js", ".ipynb": "json"}


def rewrite(text: str, page: Path, docs: Path) -> tuple[str, set[Path]]:
    """Point a file's links into the repository at pages of the site; return those files too.

    A file of ``docs`` keeps its place in the site; one of the root stands at the top, as PAGES says.
    """
    shown: set[Path] = set()
    place = page.relative_to(docs) if page.is_relative_to(docs) else PurePosixPath(PAGES[page.name])

    def point(found: re.Match[str]) -> str:
        before, target, anchor = found[1], found[2], found[3] or ""
        file = Path(os.path.normpath(page.parent / target))
        if not target or not file.exists() or not file.is_relative_to(ROOT):
            return found[0]  # left as it is: the check of the finished site names it
        if file.parent == ROOT and file.name in PAGES:
            leads = PAGES[file.name]
        elif file.is_relative_to(docs) and file.suffix != ".py":
            leads = file.relative_to(docs).as_posix()
        else:
            shown.add(file)
            leads, anchor = source_page(file), line_anchor(file, anchor[1:])
        return f"{before}{os.path.relpath(leads, PurePosixPath(place).parent)}{anchor}"

    return LINK.sub(point, _reference(text, place)), shown


def _reference(text: str, place: PurePath) -> str:
    """Let the word *Reference* lead to the generated pages, to those that the page speaks of."""
    page = f"reference/{REFERENCE.get(place.as_posix(), 'config/index.md')}"
    return text.replace("*Reference*", f"[*Reference*]({os.path.relpath(page, place.parent)})")


def source_page(file: Path) -> str:
    """Where the site shows a file of the repository."""
    return f"source/{file.relative_to(ROOT).as_posix()}.md"


def line_anchor(file: Path, name: str) -> str:
    """The anchor of a definition's first line."""
    if not name or file.suffix != ".py":
        return ""
    line = definitions(file).get(name)
    return f"#line-0-{line}" if line else ""


@cache
def definitions(file: Path) -> dict[str, int]:
    """Lines of every function, class, module-level name, and pullback of a rule."""
    found: dict[str, int] = {}

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                first = min([child.lineno, *(d.lineno for d in child.decorator_list)])
                found.setdefault(prefix + child.name, first)
                for decorator in child.decorator_list:
                    found.setdefault(ast.unparse(decorator), first)
                visit(child, f"{prefix}{child.name}.")
            elif isinstance(child, ast.Assign | ast.AnnAssign) and not prefix:
                targets = child.targets if isinstance(child, ast.Assign) else [child.target]
                for target in targets:
                    for name in ast.walk(target):
                        if isinstance(name, ast.Name):
                            found.setdefault(name.id, child.lineno)

    visit(ast.parse(file.read_text(encoding="utf-8")), "")
    return found


def show(file: Path) -> str:
    """The page that shows a file: its text, with numbered lines that have anchors."""
    if file.is_dir():
        text = "\n".join(
            sorted(p.name for p in file.iterdir() if not p.name.startswith(("_", ".")))
        )
    else:
        text = file.read_text(encoding="utf-8").rstrip("\n")
    language = LANGUAGES.get(
        file.suffix, "python" if text.startswith("#!/usr/bin/env python") else "bash"
    )
    fence = "`" * 5
    name = file.relative_to(ROOT).as_posix()
    front = "---\nsearch:\n  exclude: true\nhide:\n  - navigation\n---\n\n"
    return f'{front}# {name}\n\n{fence}{language} linenums="1"\n{text}\n{fence}\n'
