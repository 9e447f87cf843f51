"""Links from pages into the code: to the very line, on a page of the site that shows the file."""

from __future__ import annotations

import ast
import os
import re
from functools import cache
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(\]\(|^\[[^\]\n]+\]: )(?![a-z]+:|#)([^()\s#]*)(#[^()\s]*)?", re.MULTILINE)
FOLDERS = ("jcnn", "tests", "configs", "scripts", "website")
PAGES = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "index.md",
}
LANGUAGES = {".toml": "toml", ".py": "python", ".md": "markdown", ".js": "js", ".ipynb": "json"}


def rewrite(text: str, page: Path, docs: Path) -> tuple[str, set[Path]]:
    """Point a page's links into the repository at pages of the site; return those files too."""
    shown: set[Path] = set()

    def point(found: re.Match[str]) -> str:
        before, target, anchor = found[1], found[2], found[3] or ""
        if not target:
            return found[0]
        file = Path(os.path.normpath(page.parent / target))
        if file.is_relative_to(docs) and file.exists() and file.suffix != ".py":
            return found[0]
        if not file.exists() or not file.is_relative_to(ROOT):
            return found[0]  # left as it is: the check of the finished site names it
        folder = PurePosixPath(page.relative_to(docs)).parent
        if file.parent == ROOT and file.name in PAGES:
            return f"{before}{os.path.relpath(PAGES[file.name], folder)}{anchor}"
        shown.add(file)
        away = os.path.relpath(source_page(file), folder)
        return f"{before}{away}{line_anchor(file, anchor[1:])}"

    return LINK.sub(point, text), shown


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
