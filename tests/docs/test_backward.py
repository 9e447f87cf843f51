"""The page Backward: its numbers are those of jcnn.ops, its JavaScript too, and it can be used."""

import importlib.util
import json
import re
import shutil
import subprocess
from importlib.machinery import SourceFileLoader

import jax
import numpy as np
import pytest

from tests.browser import chromium, fits, needs_browser, opened, playwright, worst_contrast
from tests.docs.pages import ROOT
from tests.tolerances import tolerance

FOLDER = ROOT / "docs" / "backward"
PAGE = FOLDER / "index.html"
pytestmark = [pytest.mark.usefixtures("mathematics"), pytest.mark.slow]


def same(found, expected):
    np.testing.assert_allclose(found, expected, **tolerance("float64"))


def node():
    """The machine's Node, or the one that Playwright brings."""
    if found := shutil.which("node"):
        return found
    if playwright is None:
        pytest.skip("neither node nor playwright is here")
    from playwright._impl._driver import compute_driver_executable

    return compute_driver_executable()[0]


@pytest.fixture(scope="module")
def fixtures():
    text = (FOLDER / "fixtures.js").read_text(encoding="utf-8")
    return json.loads(text[text.index("{") : text.rindex("}") + 1])


@pytest.fixture(scope="module")
def script():
    loader = SourceFileLoader("backward_fixtures", str(ROOT / "scripts" / "backward_fixtures"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def javascript():
    command = [node(), str(ROOT / "tests" / "docs" / "run_rules.js"), str(FOLDER)]
    return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)


@pytest.fixture(scope="module")
def page():
    """What the page gives for an expression, after its scripts have run without a browser."""

    def evaluate(expression):
        script = str(ROOT / "tests" / "docs" / "run_page.js")
        command = [node(), script, str(FOLDER), expression]
        done = subprocess.run(command, capture_output=True, check=True, timeout=60)
        return json.loads(done.stdout)

    return evaluate


def hold(written, made):
    """A row of the file against the row that jcnn.ops gives now."""
    assert written.keys() == made.keys()
    for name, value in made.items():
        if isinstance(value, str):
            assert written[name] == value
        else:
            same(written[name], value)


def test_shown_lines_are_in_the_code(script, fixtures):
    made = {name: script.source(*where) for name, where in script.LINES.items()}
    assert fixtures["sources"] == made, "run scripts/backward_fixtures"


def test_shown_numbers_are_those_of_the_operations(x64, script, fixtures):
    geometries = list(script.geometries())
    assert len(geometries) == len(fixtures["convolutions"])
    for i in range(0, len(geometries), 20):
        hold(fixtures["convolutions"][i], script.convolved(geometries[i]))
    hold(fixtures["written"], script.written())
    hold(fixtures["classifier"], script.classifier())
    hold(fixtures["pools"][1], script.pooled("max", 6, 2, 1, 0))


@pytest.mark.slow
def test_more_shown_numbers_are_those_of_the_operations(x64, script, fixtures):
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        rows = list(zip(fixtures["convolutions"], script.geometries(), strict=True))
        for written, g in rows[::2]:
            hold(written, script.convolved(g))
        for written, made in zip(fixtures["pools"], script.pools(), strict=True):
            hold(written, made)
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


def test_javascript_computes_what_the_operations_compute(fixtures, javascript):
    for kind in ("convolutions", "pools"):
        assert len(fixtures[kind]) == len(javascript[kind])
        for expected, found in zip(fixtures[kind], javascript[kind], strict=True):
            for name, values in found.items():
                same(values, expected[name])
    for network in ("written", "classifier"):
        for name in fixtures[network].keys() & {"loss", "dx", "dw", "db", "dv", "dc"}:
            same(javascript[network][name], fixtures[network][name])


def test_javascript_finds_the_lectures_answer(javascript):
    delta = np.arange(-3, 4) == 0
    same(javascript["written"]["dw"], -(1 - 1 / (1 + np.exp(-1))) * delta)
    assert javascript["after"]["written"] < javascript["written"]["loss"]
    assert javascript["after"]["classifier"] < javascript["classifier"]["loss"]


def test_geometries_cover_every_choice_of_the_page(fixtures):
    html = PAGE.read_text(encoding="utf-8")
    form = html[html.index('id="geometry"') : html.index("</form>", html.index('id="geometry"'))]
    offered = {
        name: re.findall(r'<option(?: value="([^"]+)")?[^>]*>([^<]+)', options)
        for name, options in re.findall(r'<select name="(\w+)">(.*?)</select>', form)
    }
    for name in ("kind", "stride", "padding", "dilation"):
        values = {value or text for value, text in offered[name]}
        assert values == {str(row[name]) for row in fixtures["convolutions"]}
    assert {row["groups"] for row in fixtures["convolutions"]} == {1, 2}


def test_page_is_light_and_asks_nobody():
    files = [path for path in FOLDER.iterdir() if path.is_file()]
    assert sum(len(path.read_bytes()) for path in files) < 200_000
    for path in files:
        assert not re.search(r"https?://", path.read_text(encoding="utf-8")), path


def test_the_page_runs_and_agrees_with_the_operations(page):
    found = page('["truth-say", "agreement", "pool-agreement"].map((id) => $(id).textContent)')
    assert all("✓ The same" in said for said in found)


def test_a_geometry_that_does_not_fit_changes_nothing_but_the_refusal(page):
    """Whatever is touched afterwards: what is said is of the arrays that are shown."""
    refused, *pairs = page("""
        (() => {
          const ids = ["reading-title", "reading-formula", "reading-say", "reading-terms",
            "reading-order", "agreement", "orders-say", "cards", "convolution-source"];
          const touch = () => [["x", 6], ["w", 1], ["y", 0], ["dy", 0]].map(([key, index]) => {
            choose(key, index);
            return ids.map((id) => $(id).textContent);
          });
          const before = touch();
          select("geometry", { kind: "correlate", window: 4, dilation: 2, stride: 3 });
          const refusal = $("unfit").hidden ? "" : $("unfit").textContent;
          return [refusal, before, touch()];
        })()""")
    assert "spans 7 elements" in refused
    before, after = pairs
    assert before == after


def test_buttons_change_what_was_touched(page):
    """As the keys + and − do, for who has none; what is computed has no buttons."""
    said = page("""
        ["x", "w", "dy", "y"].map((key) => {
          choose(key, 1);
          const grid = conv.grids.find((own) => own.key === key).grid;
          const before = conv[key][1], found = [];
          for (const by of [1, 1, -1]) {
            const button = () => $("nudge").querySelector(`[data-by="${by}"]`);
            if (!button()) continue;
            fire(button(), "click");
            const label = grid.cells.get(1).attributes["aria-label"];
            found.push([conv[key][1] - before, document.activeElement === button(), label]);
          }
          return [$("nudge").textContent.startsWith(`Change ${nameOf(key, 1)} by −1+1`), found];
        })""")
    for key, (names, found) in zip(("x", "w", "δ"), said, strict=False):
        assert names
        assert [(by, focused) for by, focused, _ in found] == [(1, True), (2, True), (1, True)]
        assert all(label.startswith(f"{key}[0, 1] = ") for *_, label in found)
    assert said[3] == [False, []]


def test_buttons_change_pools_too(page):
    found = page("""
        [["z", "z"], ["a", "dy"], ["dy", "dy"], ["dz", "z"]].map(([touched, changed]) => {
          const { grid } = pool.grids.find((own) => own.key === touched);
          fire(grid.cells.get(2), "click");
          const before = pool[changed][2];
          fire($("pool-nudge").querySelector('[data-by="-1"]'), "click");
          return [pool[changed][2] - before, $("pool-nudge").textContent.slice(0, 14)];
        })""")
    assert found == [[-1, f"Change {name}[0, 2]"] for name in "zδδz"]


def test_a_mean_over_padding_counts_places_and_elements(page):
    corner, edge, middle = page("""
        (() => {
          select("pool-form", { kind: "average", window: 2, stride: 2, padding: 1 });
          return [0, 1, 5].map((index) => {
            fire(pool.grids.find((own) => own.key === "a").grid.cells.get(index), "click");
            return $("pool-say").textContent;
          });
        })()""")
    assert corner.startswith("The mean of 4 places, 1 of them in the image;")
    assert corner.endswith("divided by 4, goes to the one element.")
    assert edge.startswith("The mean of 4 places, 2 of them in the image;")
    assert middle.startswith("The mean of 4 elements. δ[1, 1]")
    assert middle.endswith("divided by 4, goes to each of the 4 elements.")


def test_without_javascript_the_page_says_where_to_read_on():
    said = re.search("<noscript>(.*?)</noscript>", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    links = re.findall('href="(.*?)"', said[1])
    assert "needs JavaScript" in said[1]
    assert links
    assert all((FOLDER / link).is_file() for link in links)


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@needs_browser
class TestInABrowser:
    @pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1200, "light")])
    def test_fits_and_can_be_read(self, browser, width, scheme):
        with opened(browser, PAGE, width, color_scheme=scheme, reduced_motion="reduce") as tab:
            assert fits(tab)
            ratio, where = worst_contrast(tab)
            assert ratio >= 4.5, where
            assert "jcnn.ops" in tab.inner_text("#truth-say")
            assert "✓" in tab.inner_text("#truth-say")

    @pytest.mark.slow
    def test_every_geometry_is_drawn_within_a_phone(self, browser, fixtures):
        with opened(browser, PAGE, 360) as tab:
            for row in fixtures["convolutions"][::9]:
                channels = f"{row['channels']},{row['features']},{row['groups']}"
                chosen = {**row, "size": row["size"][0], "window": row["window"][0]}
                for name in ("kind", "size", "window", "stride", "padding", "dilation"):
                    tab.select_option(f"#geometry [name={name}]", str(chosen[name]))
                tab.select_option("#geometry [name=channels]", channels)
                assert "✓" in tab.inner_text("#agreement")
                assert fits(tab)

    def test_touching_lights_up_what_is_met(self, browser):
        with opened(browser, PAGE) as tab:
            for grid, cell, count in [("x-0", 12, 9), ("w-0", 4, 9), ("y-0", 0, 9), ("dy-0", 8, 9)]:
                tab.click(f"#{grid} [data-index='{cell}']")
                assert tab.locator("#reading-terms li").count() == count
            tab.click("#x-0 [data-index='0']")
            assert tab.locator("#reading-terms li").count() == 1
            assert tab.locator("#w-0 .lit").count() == tab.locator("#dy-0 .lit").count() == 1

    def test_a_kernel_that_does_not_fit_is_refused_in_words(self, browser):
        with opened(browser, PAGE) as tab:
            tab.select_option("#geometry [name=window]", "4")
            tab.select_option("#geometry [name=dilation]", "2")
            assert "spans 7 elements" in tab.inner_text("#unfit")

    def test_keys_move_and_change(self, browser):
        with opened(browser, PAGE) as tab:
            tab.focus("#x-0 [tabindex='0']")
            tab.keyboard.press("ArrowRight")
            tab.keyboard.press("ArrowDown")
            tab.keyboard.press("+")
            chosen = tab.locator("#x-0 [aria-selected=true]")
            assert chosen.get_attribute("aria-label").startswith("x[1, 1] = 4")
            assert "held against" in tab.inner_text("#agreement")

    def test_a_finger_changes_a_number_by_buttons(self, browser):
        with opened(browser, PAGE, 360, has_touch=True) as tab:
            tab.tap("#x-0 [data-index='6']")
            before = tab.inner_text("#x-0 [data-index='6'] .value")
            for name in ("+1", "+1", "−1"):
                tab.locator("#nudge button", has_text=name).tap()
            after = tab.inner_text("#x-0 [data-index='6'] .value")
            assert int(after) == int(before) + 1
            assert fits(tab)

    @pytest.mark.parametrize("motion", ["reduce", "no-preference"])
    def test_cards_are_the_same_in_both_orders(self, browser, motion):
        with opened(browser, PAGE, reduced_motion=motion) as tab:
            cards = lambda: sorted(tab.locator(".card").all_inner_texts())  # noqa: E731
            before, rows = cards(), tab.locator(".deal").count()
            tab.check("[name=order][value=collect]")
            assert cards() == before
            assert (rows, tab.locator(".deal").count()) == (9, 25)

    @pytest.mark.slow
    def test_pools_tell_ties_and_kinks(self, browser):
        with opened(browser, PAGE) as tab:
            tab.click("#pool-a [data-index='3']")
            told = set()
            for kind in ("max", "relu_max", "average", "decimate", "relu"):
                tab.select_option("#pool-form [name=kind]", kind)
                assert "✓" in tab.inner_text("#pool-agreement")
                for cell in (0, 2, 4, 7):
                    tab.click(f"#pool-a [data-index='{cell}']")
                    told.add(tab.inner_text("#pool-say"))
            assert any("tie, the first in row-major order" in text for text in told)
            assert any("gate is shut" in text for text in told)

    @pytest.mark.slow
    def test_pools_say_where_the_rule_is_not_what_quotients_are(self, browser):
        """Also where an element ties in two windows, and the kinks of both cancel."""
        differs = """() => {
          const index = pool.chosen.index, v = pool.z[index];
          const loss = (v) => poolOutput(pool.z.map((old, i) => (i === index ? v : old)))
            .reduce((sum, a, m) => sum + a * pool.dy[m], 0);
          const { left, right } = quotients(loss, v, pool.epsilon);
          return [left, right].map((side) => Math.abs(side - pool.dz[index]) > 1e-6);
        }"""
        seen = set()
        with opened(browser, PAGE) as tab:
            tab.select_option("#pool-form [name=window]", "3")
            for cell in range(36):
                tab.click(f"#pool-z [data-index='{cell}']")
                left, right = tab.evaluate(differs)
                seen.add((left, right))
                assert ("kink" in tab.inner_text("#pool-nudge")) == (left or right), cell
        assert seen >= {(False, False), (True, True)}

    def test_networks_are_stepped_through(self, browser):
        with opened(browser, PAGE) as tab:
            for network, steps in (("written", 9), ("classifier", 11)):
                tab.select_option("#network-choice", network)
                for _ in range(steps - 1):
                    tab.click("#step-next")
                assert tab.locator("#step-next").is_disabled()
                assert f"Step {steps} of {steps}" in tab.inner_text("#step-count")
                assert "✓" in tab.inner_text("#step-agreement")
                assert tab.locator("#step-source pre").count() == 1
