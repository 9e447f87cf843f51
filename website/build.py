"""Build the site into build/site: pages, generated reference, sources, formulas; then check it.

    scripts/site            # builds; fails on a warning, a dead link or a formula that can't be set

The pages are staged in build/docs, where links into the code lead to pages that show the code, and
Zensical makes HTML of them. Afterwards formulas become MathML, so that no page runs a script for
them, and every link and anchor of the finished pages is followed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))

import commands
import finish
import keys
import navigation
import operations
import sources

BUILD = ROOT / "build"
DOCS, SITE = BUILD / "docs", BUILD / "site"


def stage() -> None:
    """Copy the pages, generate the others, and show every file that one of them links to."""
    shutil.rmtree(BUILD, ignore_errors=True)
    shutil.copytree(ROOT / "docs", DOCS, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("site.css", "worker.js", "palette.js"):
        shutil.copy(HERE / name, DOCS / name)
    generated = {**keys.pages(), **operations.pages(), "reference/commands.md": commands.page()}
    for name, text in generated.items():
        _write(name, text)
    shown = {ROOT / path for path in operations.backward_files()}
    for page in sorted((ROOT / "docs").rglob("*.md")):
        text, files = sources.rewrite(page.read_text(encoding="utf-8"), page, ROOT / "docs")
        shown |= files
        _write(str(page.relative_to(ROOT / "docs")), text)
    for name in (name for name in sources.PAGES if name != "README.md"):
        page = ROOT / name
        text, files = sources.rewrite(page.read_text(encoding="utf-8"), page, ROOT / "docs")
        shown |= files
        _write(sources.PAGES[name], text)
    for file in sorted(shown):
        _write(sources.source_page(file), sources.show(file))


def _write(name: str, text: str) -> None:
    path = DOCS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def settings() -> str:
    """The settings with the navigation."""
    text = (HERE / "zensical.toml").read_text(encoding="utf-8")
    nav = navigation.toml(DOCS)
    written = text.replace("[project]\n", f"[project]\nnav = {nav}\n", 1)
    tomllib.loads(written)
    return written


def main() -> int:
    """Build, finish and check; what is wrong is printed, and counted."""
    stage()
    config = BUILD / "zensical.toml"
    config.write_text(settings(), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "zensical",
        "build",
        "--clean",
        "--strict",
        "--config-file",
        str(config),
    ]
    built = subprocess.run(
        command, cwd=BUILD, env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    )
    if built.returncode:
        return built.returncode
    wrong = finish.finish(SITE)
    for line in wrong:
        print(line, file=sys.stderr)
    pages = sum(1 for _ in SITE.rglob("*.html"))
    print(f"{pages} pages in {SITE}; {len(wrong)} faults")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
