"""How the site sets formulas: primes, sums and functions' names."""

import re

import pytest

from tests.browser import chromium, needs_browser, opened
from tests.docs.site import SITE, built, needs_docs

# The height of the first sum of a displayed formula, and how far its index is below its middle.
SUM = """() => {
  const under = document.querySelector('.formula munder');
  const [sum, index] = [...under.children].map((e) => e.getBoundingClientRect());
  const letter = document.querySelector('.formula mi').getBoundingClientRect();
  return [sum.height / letter.height, index.top - sum.bottom, index.top - letter.bottom];
}"""


@pytest.fixture
def mathml(website):
    """Sets one formula, as the site's builder does."""
    formulas = website("formulas")

    def convert(latex, tag="span"):
        left, right = "()" if tag == "span" else "[]"
        written = f'<{tag} class="arithmatex">\\{left}{latex}\\{right}</{tag}>'
        return formulas.mathml(formulas.FORMULA.fullmatch(written))

    return convert


@needs_docs
@pytest.mark.slow
class TestConverted:
    def test_a_prime_stands_beside_its_letter(self, mathml):
        made = mathml("w[m - m'] f''(a)")
        assert "msup" not in made
        assert re.search("<mi>m</mi><mo[^>]*>\u2032</mo>", made)
        assert re.search("<mi>f</mi><mo[^>]*>\u2033</mo>", made)
        assert "<msup>" in mathml("x^2")

    @pytest.mark.parametrize("latex", [r"-y \ln g", r"y_k \ln g_k", r"2 \max_n z", r"A \tanh a"])
    def test_a_functions_name_is_apart_on_both_sides(self, mathml, latex):
        assert mathml(latex).count("<mspace") == 2

    def test_an_argument_in_brackets_stands_close(self, mathml):
        made = mathml(r"\max(a, 0)")
        assert "<mspace" not in made
        assert "<mi>max</mi><mo>\u2061</mo><mo" in made

    def test_arg_max_is_two_words(self, mathml):
        assert "arg\u2009max" in mathml(r"\arg\max_n z[n]")

    def test_a_sign_is_told_from_a_difference(self, mathml):
        assert mathml("x = -y - z").count('form="prefix"') == 1

    def test_a_displayed_chain_can_be_broken(self, mathml):
        made = mathml(r"a = b = c, \qquad d = \frac{e'}{f_2}", "div")
        assert made.count('class="equation"') == 2
        assert made.count("<math ") == 5
        assert 'alttext="= e\u2032/f_2"' in made
        assert mathml("a", "div").count("<math ") == 1

    def test_lines_are_aligned(self, mathml):
        made = mathml(r"\begin{aligned} a &= b \\ c &= d \end{aligned}", "div")
        assert made.count("<mtr>") == 2
        assert "&amp;</" not in made

    def test_what_is_compared_is_escaped(self, mathml):
        assert "<mo>&lt;</mo>" in mathml("0 < b")


@built
@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("page", ["worked_example", "learn/backward", "learn/losses"])
def test_formulas_fit_a_phone(page):
    with chromium() as browser, opened(browser, SITE / f"{page}.html", 400) as tab:
        over = "e => e.map((f) => [f.scrollWidth - f.clientWidth, f.textContent])"
        wide = tab.locator(".formula").evaluate_all(over)
        assert [row for row in wide if row[0] > 1] == []


@built
@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("fonts", ["math {}", "math { font-family: serif !important; }"])
def test_a_displayed_sum_is_large_and_its_index_below(fonts):
    with chromium() as browser, opened(browser, SITE / "learn" / "index.html") as tab:
        tab.add_style_tag(content=fonts)
        height, gap, below = tab.evaluate(SUM)
        assert height > 1.1
        assert gap > -1
        assert below > 0
