"""Tables of the site: formulas have room, and at a desk's width nothing is cut off."""

import pytest

from tests.browser import chromium, needs_browser, opened
from tests.docs.site import SITE, built, needs_docs

WIDE = (
    *("equations.html", "results.html", "performance.html", "guides/scaling.html"),
    *("measurements/tpu.html", "measurements/xeon_avx512.html"),
)
FORMULAS = """<table>
<thead>
<tr>
<th></th>
<th>formula</th>
<th>where</th>
<th>test</th>
</tr>
</thead>
<tbody>
<tr>
<td>T1</td>
<td><span class="arithmatex">\\(a\\)</span></td>
<td>same</td>
<td></td>
</tr>
</tbody>
</table>"""

# Tables that are wider than the room they have, by how much, and how they begin.
CUT = """() => [...document.querySelectorAll('article table')].filter((e) => e.checkVisibility())
  .map((e) => [e.closest('.md-typeset__scrollwrap') ?? e, e.innerText.slice(0, 50)])
  .map(([e, begin]) => [e.scrollWidth - e.clientWidth, begin]).filter(([over]) => over > 1)"""
# The smallest letters of a formula's fraction in a table, over those of the formula.
FRACTION = """() => {
  const size = (e) => parseFloat(getComputedStyle(e).fontSize);
  return Math.min(...[...document.querySelectorAll('td math > mrow > mfrac, td mtd > mfrac')]
    .map((e) => size(e.firstElementChild) / size(e.closest('math'))));
}"""


@needs_docs
@pytest.mark.slow
class TestLaidOut:
    def test_a_formula_has_a_row_of_its_own(self, website):
        made = website("tables").laid_out(FORMULAS)
        head, row = made.split("</thead>")
        assert '<th rowspan="2"></th>\n<th colspan="2">formula</th>\n</tr>' in head
        assert '<td colspan="2"><span class="arithmatex steps">' in row
        assert row.count("<tr") == 2
        assert '<tr class="below">\n<td>same</td>\n<td></td>\n</tr>' in row

    @pytest.mark.parametrize(
        ("cell", "room"), [("T10", "short"), ("an average pool", "middle"), (30 * "a b", "long")]
    )
    def test_room_for_the_first_column_follows_its_cells(self, website, cell, room):
        head = "<thead>\n<tr>\n<th>what it may say</th>\n<th>n</th>\n</tr>\n</thead>\n"
        row = f"<tr>\n<td><code>{cell}</code></td>\n<td>1</td>\n</tr>\n"
        made = website("tables").laid_out(f"<table>\n{head}<tbody>\n{row}</tbody>\n</table>")
        assert made.startswith(f'<table data-first="{room}">')

    def test_a_long_chain_stands_on_several_lines(self, website):
        formulas = website("formulas")
        chain = " = ".join(f"{letter}_{{{40 * letter}}}" for letter in "abcd")
        written = '<span class="arithmatex{}">\\({}\\)</span>'
        setting = [
            formulas.mathml(formulas.FORMULA.fullmatch(written.format(mark, latex)))
            for mark, latex in ((" steps", chain), (" steps", "a = b = c"), ("", chain))
        ]
        assert [made.count("<mtr>") for made in setting] == [3, 0, 0]


@built
@needs_browser
@pytest.mark.slow
class TestAtADesk:
    def test_no_table_is_cut_off(self):
        with chromium() as browser:
            for page in WIDE:
                with opened(browser, SITE / page, 1400) as tab:
                    assert tab.evaluate(CUT) == [], page

    def test_fractions_in_tables_are_not_small(self):
        with chromium() as browser, opened(browser, SITE / "equations.html", 1400) as tab:
            assert tab.evaluate(FRACTION) == 1
