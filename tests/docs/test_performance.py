"""The tables of ratios say what the pages of measurements say."""

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Measured, and in no column: another version of JAX, other networks, chips that need not be there.
APART = {"zen5_avx512_loops_jax_0_12", "networks", "tpu"}


@pytest.fixture
def summary(monkeypatch):
    """The script as a module; it reads and writes from the root folder."""
    monkeypatch.chdir(ROOT)
    loader = SourceFileLoader("performance_summary", str(ROOT / "scripts" / "performance_summary"))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def test_every_page_of_measurements_has_a_column(summary):
    pages = {page.stem for page in (ROOT / "docs" / "measurements").glob("*.md")}
    assert pages == {*summary.WITH_LOOPS, *summary.WITHOUT, *APART}


@pytest.mark.parametrize("page", ["README.md", "docs/performance.md"])
def test_a_page_s_ratios_are_those_measured(summary, page):
    written = (ROOT / page).read_text(encoding="utf-8")
    found = written.partition(summary.BEGIN)[2].partition(summary.END)[0].strip().splitlines()
    assert found == summary.table(summary.columns(), summary.SUMMARIES[Path(page)])
    assert len(found) > 8


def test_the_operations_that_are_slower_are_listed(summary):
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    begin, end = summary.SLOWER
    found = text.partition(begin)[2].partition(end)[0].strip().splitlines()
    assert found == summary.slower()
    assert len(found) > 4


def test_every_column_has_the_steps_and_the_means(summary):
    for machine, rows in summary.columns().items():
        for name in ("MNIST step", "AlexNet step", "convolutions: kernel gradient"):
            assert set(rows[name]) >= {"jax.grad", "PyTorch"}, machine
        assert "jcnn" in rows["residual step: share of the peak, %"], machine


@pytest.mark.parametrize(
    ("figure", "shown"), [("10.51", "11"), ("9.96", "10"), ("2.44", "2.4"), ("0.74", "0.74")]
)
def test_ratios_have_two_figures(summary, figure, shown):
    assert summary.rounded(figure) == shown
