"""A page in headless Chromium: whether it is there, what it complains of, whether it fits."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.optional import optional

playwright, _ = optional("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
missing = [
    name for name, found in (("playwright", playwright), ("chromium", CHROMIUM)) if not found
]
needs_browser = pytest.mark.skipif(bool(missing), reason=f"not here: {', '.join(missing)}")

# The lowest contrast of any text on the page, and where: every element that has text of its own,
# against what stands behind it.
CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const seen = new Map();
  const rgba = (css) => {
    if (!seen.has(css)) seen.set(css, read(css));
    return seen.get(css);
  };
  const read = (css) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = css;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (css) => rgba(css).slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    for (; e; e = e.parentElement)
      if (rgba(getComputedStyle(e).backgroundColor)[3] === 255)
        return getComputedStyle(e).backgroundColor;
    return 'white';
  };
  let worst = [21, ''];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    const seen = {opacityProperty: true, visibilityProperty: true};
    const other = e.closest('[disabled], canvas, script, math, svg');
    if (!own || other || !e.checkVisibility(seen)) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const where = `${e.tagName} ${e.className} ${e.textContent.slice(0, 40)}`;
    if (ratio < worst[0]) worst = [ratio, where];
  }
  return worst;
}"""


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of the machine's own; Playwright brings the protocol."""
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Any, page: Path | str, width: int = 1200, **options: Any) -> Iterator[Any]:
    """Open a file without a network; fail afterwards if it asked for one or complained."""
    context = browser.new_context(viewport={"width": width, "height": 800}, **options)
    tab = context.new_page()
    complaints: list[str] = []
    tab.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else 0)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda r: complaints.append(r.url) if r.url.startswith("http") else None)
    try:
        tab.goto(page if isinstance(page, str) else page.as_uri())
        yield tab
        assert not complaints
    finally:
        context.close()


def fits(tab: Any) -> bool:
    """Whether nothing is wider than the window."""
    return tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def worst_contrast(tab: Any) -> tuple[float, str]:
    """The lowest contrast of text, and where it is."""
    ratio, where = tab.evaluate(CONTRAST)
    return ratio, where
