"""What is done to finished pages: formulas become MathML, and every link is followed."""

from __future__ import annotations

import html
import os
import re
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import copying
import formulas
import searching
import tables

SHIM = re.compile(r'<script src="https://unpkg.com/iframe-worker/shim"[^>]*></script>')
TWICE = re.compile(r"<title>(.+) - \1</title>")  # of the page that is named as the site is
ITEM = re.compile(r"<p>(?:(?!</p>).)*?\n(?:- |\d+\. )[^\n]{,40}", re.DOTALL)
SOURCE = re.compile(r'<details class="mkdocstrings-source">.*?</details>', re.DOTALL)
CODE = re.compile(r"<(pre|code)\b[^>]*>(.*?)</\1>", re.DOTALL)
LATEX = re.compile(r"\$\$|\\(?:partial|frac|begin)\b")
ROW = re.compile(r"<p>\| [^\n]{,40}")
LIMIT = 1_000_000  # bytes of one page


def finish(site: Path) -> list[str]:
    """Finish all pages; return what is wrong with them."""
    _backward(site / "backward")
    (site / "404.html").unlink(missing_ok=True)  # for servers: its links begin at their root
    return [*finish_pages(site), *searching.readable(site), *dead_links(site)]


def finish_pages(site: Path) -> list[str]:
    """Turn all formulas into MathML, and let pages take the site's own stand-in for a worker.

    Return what is wrong with them.
    """
    wrong: list[str] = []
    for page in sorted(site.rglob("*.html")):
        text = page.read_text(encoding="utf-8")
        done = formulas.FORMULA.sub(partial(_mathml, page, wrong), tables.laid_out(text))
        if page.relative_to(site).parts[0] != "source":  # files are copied as they are
            done = copying.without_prompts(done)
        done = TWICE.sub(r"<title>\1</title>", done)
        done = SHIM.sub(
            f'<script src="{os.path.relpath(site / "worker.js", page.parent)}"></script>', done
        )
        if done != text:
            page.write_text(done, encoding="utf-8")
        if len(done.encode()) > LIMIT:
            wrong.append(f"{page.relative_to(site)}: {len(done.encode())} bytes, more than {LIMIT}")
        if "arithmatex" in done:
            wrong.append(f"{page.relative_to(site)}: a formula is left as it was written")
        if found := ITEM.search(done):
            item = found[0].rpartition("\n")[2]
            wrong.append(f"{page.relative_to(site)}: a list needs an empty line before '{item}'")
        if found := _formula_as_code(page.relative_to(site), done):
            wrong.append(f"{page.relative_to(site)}: a formula is shown as code: {found}")
        if found := ROW.search(done):
            wrong.append(f"{page.relative_to(site)}: no table has the row '{found[0]}'")
    return wrong


def _mathml(page: Path, wrong: list[str], found: re.Match[str]) -> str:
    try:
        return formulas.mathml(found)
    except ValueError as error:
        wrong.append(f"{page.name}: {error}")
        return found[0]


def _formula_as_code(where: Path, text: str) -> str:
    """The first line of LaTeX in a block of code that is no file's source; empty if there is none."""
    if where.parts[0] == "source":
        return ""
    for code in CODE.finditer(SOURCE.sub("", text)):
        plain = html.unescape(re.sub(r"<[^>]+>", "", code[2]))
        for line in plain.splitlines():
            if LATEX.search(line):
                return line.strip()[:60]
    return ""


def _backward(folder: Path) -> None:
    """Let the page Backward lead to pages of the site, where in a checkout it leads to files."""
    grid = folder / "grid.js"
    text = grid.read_text(encoding="utf-8")
    here = 'const LINKS = { code: "../../", codeEnd: "", equations: "../equations.md" };'
    there = (
        'const LINKS = { code: "../source/", codeEnd: ".html", equations: "../equations.html" };'
    )
    assert here in text
    grid.write_text(text.replace(here, there), encoding="utf-8")
    page = folder / "index.html"
    text = page.read_text(encoding="utf-8").replace(
        '"../../scripts/backward_fixtures"', '"../source/scripts/backward_fixtures.html"'
    )
    text = text.replace("</body>", '<script src="../palette.js"></script>\n</body>')
    page.write_text(re.sub(r'href="(\.\./[\w/]+)\.md"', r'href="\1.html"', text), encoding="utf-8")


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        for name in ("id", "name"):
            if given.get(name):
                self.anchors.add(str(given[name]))
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        fetches = tag in ("script", "img", "iframe", "source") or (
            tag == "link" and "stylesheet" in (given.get("rel") or "")
        )
        target = given.get("src") or given.get("href") if fetches else None
        if target:
            self.fetched.append(target)


def dead_links(site: Path) -> list[str]:
    """Follow every link and anchor; name what is fetched from elsewhere."""
    parsed: dict[Path, _Page] = {}
    for page in sorted(site.rglob("*.html")):
        parsed[page] = _Page()
        parsed[page].feed(page.read_text(encoding="utf-8"))
    wrong = []
    for page, found in parsed.items():
        where = page.relative_to(site)
        wrong += [
            f"{where}: fetches {t}"
            for t in found.fetched
            if urlsplit(t).scheme in ("http", "https") or t.startswith("//")
        ]
        local = [
            t
            for t in (*found.links, *found.fetched)
            if not urlsplit(t).scheme and not t.startswith("//")
        ]
        wrong += [
            f"{where}: dead link {target}"
            for target in dict.fromkeys(local)
            if not _alive(page, target, parsed)
        ]
    return wrong


def _alive(page: Path, target: str, parsed: dict[Path, _Page]) -> bool:
    parts = urlsplit(target)
    path = Path(os.path.normpath(page.parent / unquote(parts.path))) if parts.path else page
    if path.is_dir():
        path /= "index.html"
    if not path.exists():
        return False
    anchor = unquote(parts.fragment)
    return not anchor or path not in parsed or anchor in parsed[path].anchors
