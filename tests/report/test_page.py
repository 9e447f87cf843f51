"""A run's page: complete, self-contained, and honest about what is not there yet."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import jcnn.report.measured
import jcnn.report.page
from jcnn.cli import main
from jcnn.config import load_experiment
from jcnn.errors import UserError
from jcnn.report import write_report
from jcnn.report.measured import Measured, measure
from jcnn.runs import Run
from jcnn.training import Step, Trained, load_trained

# They start processes, train or compile much.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


class Outline(HTMLParser):
    """Headings, pictures, addresses and ids of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.images: list[dict] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "img":
            self.images.append(values)
        self.addresses += [values[key] for key in ("src", "href") if key in values]
        self.ids += [values["id"]] if "id" in values else []


@pytest.fixture(scope="module")
def page(trained: Path) -> Path:
    return write_report(trained)


def test_one_file_that_asks_the_network_for_nothing(page):
    text = page.read_text()
    outline = Outline(text)
    assert page.name == "report.html"
    assert len(text) < 5e6
    assert all(address.startswith(("data:", "#")) for address in outline.addresses)
    assert not re.search(r"@import|url\(|https?://(?!www\.w3\.org)", text)
    targets = {address[1:] for address in outline.addresses if address.startswith("#")}
    assert targets <= set(outline.ids)
    assert len(outline.ids) == len(set(outline.ids))


def test_headings_nest_and_pictures_have_words(page):
    outline = Outline(page.read_text())
    assert outline.headings[0] == 1
    assert outline.headings.count(1) == 1
    steps = np.diff(outline.headings)
    assert steps.max() == 1
    assert len(outline.images) > 20
    assert all(len(image["alt"]) > 5 for image in outline.images)


def test_captions_are_as_wide_as_the_text(browser, page):
    text = page.read_text()
    assert "<caption" not in text  # it would be as narrow as its table
    assert set(re.findall('aria-labelledby="(.*?)"', text)) <= set(Outline(text).ids)
    tab = look(browser, page, 1280, "light")
    widths = "[...document.querySelectorAll('.caption')].map(c => c.getBoundingClientRect().width)"
    assert min(tab.evaluate(widths)) > 600  # a line of text, where the tables are narrow
    tab.context.close()


def test_it_says_what_evaluate_says(page, trained):
    summary = json.loads((trained / "summary.json").read_text())
    text = page.read_text().replace("\u202f", "")
    assert f"{summary['test']['accuracy']:.2%}" in text
    measured = measure(load_trained(trained))
    assert measured.accuracy == pytest.approx(summary["test"]["accuracy"])
    assert measured.losses.mean() == pytest.approx(summary["test"]["loss"], rel=1e-5)
    low, high = measured.interval
    assert low < measured.accuracy < high


def test_confusion_and_figures_of_classes():
    predicted, labels = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 1])
    sure = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.4, 0.6], [0.3, 0.7]])
    measured = Measured(None, sure, predicted, labels, np.zeros(5))
    assert measured.confusion.tolist() == [[1, 0], [1, 3]]
    a, b = measured.by_class(["a", "b"])
    assert (a.count, a.precision, a.recall) == (1, 0.5, 1.0)
    assert a.f1 == pytest.approx(2 / 3)
    assert (b.precision, b.recall) == (1.0, 0.75)
    assert measured.surest_mistakes(9).tolist() == [1]
    unseen = Measured(None, np.eye(3)[[0]], np.array([0]), np.array([0]), np.zeros(1))
    assert unseen.by_class(["a", "b", "c"])[2].precision is None


def test_examples_and_taps_are_chosen(trained, tmp_path, capsys):
    out = tmp_path / "page.html"
    chosen = ["--example", "5", "--tap", "conv_1=2,1,0,1", "--out", str(out)]
    assert main(["report", str(trained), *chosen]) == 0
    assert str(out) in capsys.readouterr().out
    text = out.read_text()
    assert "Test example 5:" in text
    assert '∂L/∂w[<span class="tap">2, 1, 0, 1</span>]' in text
    totals = re.search(r"= <b>(\S+)</b>; the rule gives <b>(\S+)</b>", text)
    first, second = (float(value.replace("−", "-")) for value in totals.groups())
    assert first == pytest.approx(second, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--example", "360"], "0 to 359"),
        (["--example", "-1"], "-1"),
        (["--tap", "conv_7=0,0,0,0"], "--tap conv_7: expected one of conv_1, a conv or"),
        (["--tap", "conv_1=0,0,0"], "up to 2,2,0,1"),
        (["--tap", "conv_1"], "LAYER="),
        (["--tap", "dense_1=0,0"], "--tap dense_1: expected one of conv_1, a conv or"),
        (["--out", "absent/page.html"], "absent"),
    ],
)
def test_a_wrong_argument_is_named(trained, capsys, arguments, words):
    assert main(["report", str(trained), *arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


def test_validation_has_a_tile_of_its_own(page, trained, tmp_path):
    assert "Validation accuracy" not in page.read_text()
    run = Run(shutil.copytree(trained, tmp_path / "run"))
    run.write_summary({**run.summary(), "validation": {"accuracy": 0.875, "loss": 0.25}})
    assert re.search(r"Validation accuracy</dt><dd>87.50\s%<small>loss 0.25<", _page(run))
    run.summary_file.unlink()
    row = {"step": 2, "epoch": 1, "split": "validation", "loss": 0.5, "accuracy": 0.75}
    run.rewrite_metrics([row, *run.metrics()])
    assert re.search(r"<dd>75.00\s%<small>loss 0.5, after epoch 1<", _page(run))


def test_a_summary_without_its_seconds_of_compiling_has_a_page(trained, tmp_path):
    run = Run(shutil.copytree(trained, tmp_path / "run"))
    summary = run.summary()
    assert summary.pop("compile_seconds") > 0
    run.write_summary(summary)
    assert "<dt>Training</dt>" in _page(run)


def _page(run: Run) -> str:
    return write_report(run.folder).read_text()


def test_no_run_no_page(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        write_report(tmp_path)


def test_a_run_without_a_checkpoint_shows_what_there_is(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    (run / "summary.json").unlink()
    shutil.rmtree(run / "checkpoints")
    text = write_report(run).read_text()
    assert "This training has not ended" in text
    assert "epoch 2 of 2" in text
    assert "no checkpoint yet" in text
    (run / "metrics.jsonl").unlink()
    assert "Nothing was evaluated yet" in write_report(run).read_text()


def test_what_a_file_says_is_text_on_the_page(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    file = run / "experiment.toml"
    file.write_text(file.read_text().replace('"small"', '"<script>alert(1)"'))
    shutil.rmtree(run / "checkpoints")
    (run / "summary.json").unlink()
    text = write_report(run).read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def look(browser, page: Path, width: int, scheme: str):
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    tab, problems = context.new_page(), []
    tab.on("console", lambda message: problems.append(message.text))
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("request", lambda r: r.url.startswith(("file", "data")) or problems.append(r.url))
    tab.goto(page.as_uri())
    assert not problems
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    assert tab.evaluate(broken) == 0
    return tab


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_browser_shows_it_without_complaint(browser, page, width, scheme):
    look(browser, page, width, scheme).context.close()


def test_another_tap_is_chosen_with_the_keyboard(browser, page, trained):
    tab = look(browser, page, 1280, "light")
    field = tab.locator("fieldset.kernel").first
    assert field.locator("input").count() == 9
    before = tab.locator(".terms .formula").first.inner_text()
    field.locator("input:checked").focus()
    tab.keyboard.press("ArrowRight")
    after = tab.locator(".terms .formula").first.inner_text()
    assert after != before
    said = field.locator("input:checked").get_attribute("aria-label").split(": ")[1]
    total, rule = (
        float(number.replace("−", "-"))
        for number in after.split(" = ")[1].split("; the rule gives ")
    )
    assert total == pytest.approx(float(said.replace("−", "-")), rel=5e-3)
    assert total == pytest.approx(rule, rel=1e-3)
    name = field.locator("input:checked").get_attribute("aria-label").split(":")[0]
    assert tab.locator(".terms .tap").first.inner_text().startswith(name.removeprefix("tap "))
    tab.context.close()


CONFIGS = ["zipcode_1989", "tdnn_modern", "cifar10"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "zipcode_1989" else pytest.mark.thorough)
        for name in CONFIGS
    ],
)
def test_every_kind_of_network_has_a_page(browser, name, tmp_path, monkeypatch):
    """Untrained, and on noise: no data needed."""
    experiment = load_experiment(ROOT / "configs" / f"{name}.toml", {"training.batch_size": 2})
    state = Step(experiment).init()
    x = np.random.default_rng(0).uniform(size=(6, *experiment.input_shape)).astype(np.float32)
    split = x, np.arange(6, dtype=np.int32)
    monkeypatch.setattr(jcnn.report.measured, "testing_batches", lambda *_: iter([split]))
    monkeypatch.setattr(jcnn.report.page, "_wave", lambda *_: None)  # noise is no recording
    run = tmp_path / "run"
    run.mkdir()
    (run / "experiment.toml").write_text(experiment.to_toml())
    monkeypatch.setattr(jcnn.report.page, "_trained", lambda *_: Trained(experiment, state, 0))
    page = write_report(run, examples=[1])
    assert page.stat().st_size < 5e6
    for width, scheme in ((1280, "light"), (390, "dark")):
        look(browser, page, width, scheme).context.close()
