"""The search's index: its formulas in letters, since its results are lines of text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import formulas

CODE = re.compile(r"(<pre>.*?</pre>|<code>.*?</code>)", re.DOTALL)
FORMULA = re.compile(r"\\\((.*?)\\\)|\\\[(.*?)\\\]", re.DOTALL)


def readable(site: Path) -> list[str]:
    """Rewrite the index, of which there are two copies; return what is wrong with it."""
    file = site / "search.json"
    index = json.loads(file.read_text(encoding="utf-8"))
    wrong = []
    for item in index["items"]:
        for key in ("title", "text"):
            try:
                item[key] = in_letters(item[key])
            except ValueError as error:
                wrong.append(f"search, {item['location']}: {error}")
    written = json.dumps(index, ensure_ascii=False, separators=(",", ":"))
    file.write_text(written, encoding="utf-8")
    (site / "search.js").write_text(f"var __index = {written};", encoding="utf-8")
    return wrong


def in_letters(text: str) -> str:
    """A text of the index without LaTeX; code is left as it is."""
    parts = CODE.split(text)
    parts[::2] = [FORMULA.sub(_letters, part) for part in parts[::2]]
    return "".join(parts)


def _letters(found: re.Match[str]) -> str:
    return formulas.letters(found[1] or found[2])
