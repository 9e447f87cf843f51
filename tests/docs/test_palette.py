"""The site in the dark, also where the reader's system is light."""

import io

import pytest

from tests.browser import chromium, needs_browser, opened
from tests.docs.site import SITE, built

pytestmark = [built, needs_browser, pytest.mark.slow]
DARK = "document.body.dataset.mdColorScheme === 'slate'"


def switch(tab):
    """Press the site's own switch, as a reader whose system is light."""
    tab.locator("[data-md-component=palette] label:visible").click()
    tab.wait_for_function(DARK)


def test_the_framed_page_follows_the_sites_switch():
    page = SITE / "learn" / "backward.html"
    with chromium() as browser, opened(browser, page, color_scheme="light") as tab:
        frame = tab.frames[1]
        frame.wait_for_function("document.documentElement.dataset.theme === 'light'")
        switch(tab)
        frame.wait_for_function("document.documentElement.dataset.theme === 'dark'")


@pytest.mark.parametrize("page", ["performance.html", "results.html"])
def test_figures_are_dark_in_the_dark(page):
    image = pytest.importorskip("PIL.Image")
    with chromium() as browser, opened(browser, SITE / page, color_scheme="light") as tab:
        switch(tab)
        shot = tab.locator("article img[src*='figures/']").screenshot()
        corner = image.open(io.BytesIO(shot)).convert("L").getpixel((4, 4))
        assert corner < 60
