"""The site that ``scripts/site`` built, complete and readable; and how it is built."""

import html
import json
import re
import shutil

import pytest

from jcnn import ops
from tests.browser import chromium, fits, needs_browser, opened, worst_contrast
from tests.docs.pages import ROOT
from tests.docs.site import SITE, built, needs_docs, text

READ = (
    *("index.html", "start/own_images.html", "learn/index.html", "worked_example.html"),
    *("equations.html", "reference/ops.html", "reference/config/layers.html"),
)
SESSION = re.compile(r"^```[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Each block of code that is seen, and how many lines high it is, padding and scroll bar left out.
LINES = """() => [...document.querySelectorAll('pre > code')].filter((e) => e.checkVisibility())
  .map((e) => {
    const style = getComputedStyle(e);
    const height = e.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
    return [e.textContent, height / parseFloat(style.lineHeight)];
  })"""


@needs_docs
@pytest.mark.slow  # as all that needs the extra: .ci/run installs it before the slow tests
class TestGenerated:
    def test_every_key_has_type_default_and_meaning(self, website):
        keys = website("keys")
        pages = keys.pages()
        for name, page in pages.items():
            for row in re.findall(r"^\| `.*", page, re.MULTILINE):
                cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
                assert all(cells) or "optimizers" in name, (
                    f"{name}: {row}\nsay it under Attributes in the class's docstring"
                )
        for key in ("average_decay", "steps_per_dispatch", "mirrored_evaluation"):
            assert f"`{key}`" in pages["reference/config/index.md"]

    def test_every_command_is_listed(self, website):
        page = website("commands").page()
        for command in ("jcnn train", "jcnn check", "jcnn data fetch", "jcnn weights load"):
            assert f"## {command}\n" in page

    def test_docstrings_become_markdown(self, website):
        to_markdown = website("docstrings").to_markdown
        assert (
            to_markdown("a :math:`x + y` and ``b``, see :func:`f`") == "a $x + y$ and `b`, see `f`"
        )
        assert "$$\n    z = 1\n    $$" in to_markdown("Text.\n\n    .. math:: z = 1\n\n    More.")
        section = "Gradient:\n    .. math:: z = 1\n\n    More."
        assert to_markdown(section).startswith("Gradient:\n    $$\n"), "no section for griffe"
        assert to_markdown(">>> 1 + 1\n2") == "```pycon\n>>> 1 + 1\n2\n```"

    def test_a_link_into_the_code_leads_to_its_line(self, website, tmp_path):
        sources = website("sources")
        page = ROOT / "docs" / "proof.md"
        written, shown = sources.rewrite("[x](../jcnn/ops/rule.py#rule)", page, ROOT / "docs")
        lines = (ROOT / "jcnn/ops/rule.py").read_text(encoding="utf-8").splitlines()
        line = next(i for i, text in enumerate(lines) if text.startswith("def rule("))
        assert written == f"[x](source/jcnn/ops/rule.py.md#line-0-{line + 1})"
        assert shown == {ROOT / "jcnn/ops/rule.py"}

    def test_a_dead_link_and_a_wrong_formula_are_noticed(self, website, tmp_path):
        finish = website("finish")
        (tmp_path / "a.html").write_text(
            '<a href="b.html#no">x</a><script src="https://x.y/z"></script>'
        )
        (tmp_path / "b.html").write_text('<span class="arithmatex">\\(\\nocommand x\\)</span>')
        assert finish.dead_links(tmp_path) == [
            "a.html: fetches https://x.y/z",
            "a.html: dead link b.html#no",
        ]
        assert any("not known" in line for line in finish.finish_pages(tmp_path))

    def test_a_list_or_row_that_became_part_of_a_paragraph_is_noticed(self, website, tmp_path):
        finish = website("finish")
        (tmp_path / "a.html").write_text("<p>There are - two:\n- <em>one</em></p><p>1 - 1</p>")
        (tmp_path / "b.html").write_text("<p>There are</p>\n- two")
        (tmp_path / "c.html").write_text("<table></table>\n<p>| a | b |</p>")
        assert finish.finish_pages(tmp_path) == [
            "a.html: a list needs an empty line before '- <em>one</em></p><p>1 - 1</p>'",
            "c.html: no table has the row '<p>| a | b |</p>'",
        ]

    def test_a_formula_shown_as_code_is_noticed(self, website, tmp_path):
        finish = website("finish")
        (tmp_path / "a.html").write_text("<pre><code>$$\n<b>x</b>\n$$</code></pre>")
        (tmp_path / "b.html").write_text("<code>\\partial L</code>")
        source = '<details class="mkdocstrings-source"><pre>.. math:: \\frac12 $$</pre></details>'
        (tmp_path / "c.html").write_text(f"{source}<code>$x$</code>")
        assert finish.finish_pages(tmp_path) == [
            "a.html: a formula is shown as code: $$",
            r"b.html: a formula is shown as code: \partial L",
        ]

    def test_the_button_copies_what_was_typed(self, website):
        copying = website("copying")
        block = "<pre><span></span><code>{}</code></pre>"
        session = "<b>&gt;&gt;&gt;</b> for a in &quot;ab&quot;:\n...     print(a)\n...\na\nb"
        made = copying.without_prompts(block.format(session))
        copied = re.search('data-copy="(.*?)"', made, re.DOTALL)[1]
        assert html.unescape(copied) == 'for a in "ab":\n    print(a)\n\n'
        shell = "<b>$ </b>a --set &quot;b=1&quot; \\\n  --c\nsaid \\\nand $ 3\n$ d | e\n\n$"
        copied = re.search('data-copy="(.*?)"', copying.without_prompts(block.format(shell)), re.S)
        assert html.unescape(copied[1]) == 'a --set "b=1" \\\n  --c\nd | e\n'
        for other in ("jcnn layers", "$x$", "name = 1  # $ 2"):
            assert copying.without_prompts(block.format(other)) == block.format(other)

    def test_the_button_of_every_session_on_a_page_has_a_text(self, website):
        typed = {">>> ": website("copying").statements, "$ ": website("copying").commands}
        seen = 0
        for page in (ROOT / "docs").rglob("*.md"):
            for shown in SESSION.findall(page.read_text(encoding="utf-8")):
                for prompt, made in typed.items():
                    if re.search(f"^{re.escape(prompt)}", shown, re.MULTILINE):
                        assert shown.startswith(prompt), f"{page}: its button copies prompts"
                        assert made(shown).strip()
                        seen += 1
        assert seen > 50

    def test_the_search_shows_formulas_in_letters(self, website):
        in_letters = website("searching").in_letters
        assert in_letters(r"so \(\frac{dl}{da_k} = g' \ln x^2\), <code>\(</code>") == (
            r"so dl/da_k = g′ ln x^2, <code>\(</code>"
        )

    def test_the_word_reference_leads_there(self, website):
        rewrite, docs = website("sources").rewrite, ROOT / "docs"
        for page, leads in {
            "index.md": "reference/ops.md",
            "guides/troubleshooting.md": "../reference/config/index.md",
        }.items():
            assert rewrite("*Reference*", docs / page, docs)[0] == f"[*Reference*]({leads})"

    def test_contributing_stands_last(self, website, tmp_path):
        for name in ("contributing.md", "measurements/unplaced.md", "results.md"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        assert website("navigation").tree(tmp_path)["Evidence"] == [
            "results.md",
            "measurements/unplaced.md",
            "contributing.md",
        ]

    def test_the_page_backward_leads_to_pages_and_not_to_files(self, website, tmp_path):
        shutil.copytree(ROOT / "docs" / "backward", tmp_path / "backward")
        website("finish")._backward(tmp_path / "backward")
        written = (tmp_path / "backward" / "index.html").read_text(encoding="utf-8")
        links = re.findall(r'href="(\.\./[^"]+)"', written)
        assert "../learn/backward.html" in links
        assert all(link.endswith(".html") for link in links)

    def test_every_page_is_in_the_navigation(self, website):
        tree = website("navigation").tree(ROOT / "docs")
        placed = {page for pages in tree.values() for page in pages}
        pages = (ROOT / "docs").rglob("*.md")
        assert placed == {page.relative_to(ROOT / "docs").as_posix() for page in pages}


@built
@pytest.mark.slow
class TestBuilt:
    def test_operations_have_their_formulas(self):
        page = text("reference/ops.html")
        for name in ops.__all__:
            assert re.search(rf'id="jcnn\.ops\.\w+\.{name}"', page), name
        assert page.count("<math ") > 50
        headings = re.findall(r'<h[1-6] id="([^"]+)"', page)
        assert len(headings) == len(set(headings)), "something is there twice"

    def test_what_an_operation_returns_is_one_text(self):
        page = text("reference/ops.html")
        begin = page.index('id="jcnn.ops.normalization.batch_norm"')
        returns = page.index("Returns:", begin)
        raises = page.index("Raises:", returns)
        assert page[returns:raises].count("<li") == 1

    def test_pages_are_whole(self):
        pages = sorted(SITE.rglob("*.html"))
        assert len(pages) > 60
        for page in pages:
            written = page.read_text(encoding="utf-8")
            assert len(written.encode()) < 1_000_000
            assert "arithmatex" not in written, page

    @needs_browser
    def test_pages_fit_and_can_be_read(self):
        with chromium() as browser:
            for scheme, width in (("light", 360), ("dark", 1200)):
                for page in READ:
                    with opened(browser, SITE / page, width, color_scheme=scheme) as tab:
                        assert fits(tab), page
                        ratio, where = worst_contrast(tab)
                        assert ratio >= 4.5, (page, scheme, ratio, where)

    @needs_browser
    def test_code_is_laid_out_in_its_lines(self):
        with chromium() as browser:
            for page in ("index.html", "learn/index.html", "reference/config/layers.html"):
                with opened(browser, SITE / page) as tab:
                    tab.wait_for_load_state("networkidle")
                    for text, lines in tab.evaluate(LINES):
                        written = len(text.rstrip("\n").split("\n"))
                        assert lines == pytest.approx(written, abs=0.9), (page, text)

    def test_the_search_holds_no_latex(self):
        items = json.loads(text("search.json"))["items"]
        prose = [re.sub("<code>.*?</code>", "", item["text"], flags=re.DOTALL) for item in items]
        assert not [said for said in prose if re.search(r"\\(frac|partial|sum|mathcal)\b", said)]

    @needs_browser
    def test_an_example_is_copied_without_prompts(self):
        access = {"permissions": ["clipboard-read", "clipboard-write"]}
        with chromium() as browser, opened(browser, SITE / "learn/index.html", **access) as tab:
            tab.locator("button[data-md-type=copy], .md-clipboard, .md-code__button").first.click()
            tab.wait_for_timeout(200)
            copied = tab.evaluate("navigator.clipboard.readText()")
            assert copied.startswith("import numpy as np\na = np.array")
            assert ">>>" not in copied
            assert "array([  1." not in copied

    @needs_browser
    def test_search_finds_words(self):
        with chromium() as browser, opened(browser, SITE / "index.html") as tab:
            tab.keyboard.press("Control+k")
            tab.wait_for_function(
                "document.activeElement?.shadowRoot?.activeElement?.tagName === 'INPUT'"
            )
            for word in ("padding", "ties", "resume"):
                tab.keyboard.press("Control+a")
                tab.keyboard.type(word, delay=30)
                found = tab.locator("a[href*='?h=']", has_text=re.compile(word, re.IGNORECASE))
                found.first.wait_for()

    @needs_browser
    def test_the_page_backward_leads_into_the_site(self):
        with chromium() as browser, opened(browser, SITE / "backward" / "index.html") as tab:
            tab.click("#convolution-source summary")
            tab.click("#convolution-source a >> nth=0")
            assert tab.title().startswith("jcnn/ops/")
