"""Every page: its Python blocks run and give the outputs shown, and its links lead somewhere."""

import re

import pytest

from tests.docs.pages import BLOCK, PAGES, ROOT, local_links, run

NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


# Those that compile for more than a few seconds, some of them programs of another framework.
SLOW = pytest.mark.slow
LONG = {
    **dict.fromkeys(("forward_mode", "numbers", "own_rule", "per_example_gradients"), SLOW),
    **dict.fromkeys(("runs", "worked_example", "proof", "losses", "backward"), SLOW),
    "flax_and_equinox": (SLOW, pytest.mark.thorough),
}


@pytest.mark.usefixtures("mathematics")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=name, marks=LONG.get(page.stem, ()))
        for page, name in zip(PAGES, NAMES, strict=True)
    ],
)
def test_python_blocks_run_as_shown(page):
    run(page)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_prompts_stand_in_python_blocks(page):
    outside = BLOCK.sub("", page.read_text(encoding="utf-8"))
    assert ">>>" not in outside, "an example outside ```python is never run"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_to_files(page):
    missing = [
        link for link in local_links(page) if not (page.parent / link.partition("#")[0]).exists()
    ]
    assert not missing


def test_a_wrong_output_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\n>>> 1 + 1\n3\n```\n")
    with pytest.raises(AssertionError, match="Expected"):
        run(page)


def test_blocks_share_a_namespace(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\na = 1\n```\n\n```python\n>>> a + 1\n2\n>>> b = 3\n```\n")
    assert run(page)["b"] == 3


def test_figures_in_short_are_those_of_their_sections():
    """The mean and the deviation of each row stand in the section that it links to."""
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    sections = {
        re.sub(r"[^\w -]", "", title).lower().replace(" ", "-"): text
        for title, text in re.findall(r"^#{2,3} (.+)\n((?:(?!^#{2,3} ).*\n?)*)", page, re.MULTILINE)
    }
    rows = re.findall(r"\(#([\w-]+)\).*? ([\d.]+) % ± ([\d.]+)", sections["in-short"])
    assert len(rows) > 6
    for anchor, *figures in rows:
        assert all(re.search(rf"\b{figure}\b", sections[anchor]) for figure in figures), anchor


def test_figures_of_the_readme_stand_among_the_results():
    """Every accuracy and error with a deviation, as means and deviations of one page."""
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    figures = re.findall(r"([\d.]+) % ± ([\d.]+)", readme)
    assert len(figures) > 6
    assert not [pair for pair in figures if any(figure not in page for figure in pair)]


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 120
