"""The site that ``scripts/site`` built, as tests see it."""

from __future__ import annotations

import pytest

from tests.docs.pages import ROOT
from tests.optional import optional

SITE = ROOT / "build" / "site"
*_, needs_docs = optional("zensical", "mkdocstrings_handlers", "latex2mathml")
INDEX = SITE / "index.html"
FOLDERS = {"docs": "*.md", "jcnn": "*.py", "website": "*.*"}
SOURCES = [file for folder, name in FOLDERS.items() for file in (ROOT / folder).rglob(name)]
built = pytest.mark.skipif(
    not INDEX.exists()
    or INDEX.stat().st_mtime < max(f.stat().st_mtime for f in SOURCES if f.suffix != ".pyc"),
    reason="no site, or one of older sources: run scripts/site",
)


def text(page: str) -> str:
    """What a page of the site says, tags included."""
    return (SITE / page).read_text(encoding="utf-8")
