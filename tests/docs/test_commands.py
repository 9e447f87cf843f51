"""Commands and files that pages show: files are accepted, commands exist, a whole page is run."""

import re
import runpy
import shlex
import tomllib

import pytest

import jcnn
from tests.docs.pages import PAGES, ROOT
from tests.optional import optional

*_, needs_experiments = optional("typer", "PIL", "grain")
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
IMAGES = ROOT / "docs" / "start" / "own_images.md"


def blocks(page):
    """Language, title and text of each block of the page."""
    return [found.groups() for found in FENCE.finditer(page.read_text(encoding="utf-8"))]


def commands(page):
    """Every ``jcnn`` command line of the page, as words."""
    for language, _, text in blocks(page):
        for line in text.splitlines() if language == "console" else ():
            if line.startswith("$ jcnn "):
                yield shlex.split(line[2:])


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_that_pages_show_are_accepted(page):
    """A whole experiment is one; a part of one changes the experiment that was shown last."""
    base = tomllib.loads((ROOT / "configs" / "digits.toml").read_text(encoding="utf-8"))
    for language, _, text in blocks(page):
        if language == "toml":
            shown = tomllib.loads(text)
            training = {**base.get("training", {}), **shown.get("training", {})}
            whole = shown if "layers" in shown else {**base, **shown, "training": training}
            jcnn.config.Experiment.model_validate({"name": "shown", **whole})
            base = whole if "layers" in shown else base


@needs_experiments
@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_that_pages_show_exist(page):
    import typer

    from jcnn.cli.app import app

    root = typer.main.get_command(app)
    for words in commands(page):
        command, rest = root, words[1:]
        while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
            assert rest[0] in command.commands, words
            command, rest = command.commands[rest[0]], rest[1:]
        options = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
        given = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert given <= options | {"--help"}, words
        for word in rest:
            assert not word.startswith("configs/") or (ROOT / word).exists(), words


def shape(line):
    """A pattern for a line of output: numbers and widths may differ, … is anything."""
    pattern = ""
    for part in filter(None, re.split(r"(\d[\d.,]*(?:e-?\d+)?|…|\s+)", line.strip())):
        if part == "…":
            pattern += ".*"
        elif part.isspace():
            pattern += r"\s+"
        else:
            pattern += r"[\d.,e+-]+" if part[0].isdigit() else re.escape(part)
    return pattern


@pytest.fixture
def jcnn_in(tmp_path, monkeypatch, capsys):
    """Run a command line in an empty folder, as its user would; return the lines it prints."""
    from jcnn.cli.app import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JCNN_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("COLUMNS", "120")

    def run(words):
        if words[0] == "python":
            runpy.run_path(str(tmp_path / words[1]))
        else:
            main(words[1:])
        written = capsys.readouterr()
        return [line.strip() for line in (written.out + written.err).splitlines()]

    return run


@needs_experiments
@pytest.mark.slow
def test_own_images_in_ten_minutes(tmp_path, jcnn_in):
    """Write its files, run its commands, and compare what they print, numbers aside."""
    for language, title, text in blocks(IMAGES):
        if title:
            (tmp_path / title).write_text(text, encoding="utf-8")
        if language != "console":
            continue
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            line, _, expected = part.partition("\n")
            printed = jcnn_in(shlex.split(line))
            for row in filter(None, expected.splitlines()):
                assert any(re.fullmatch(shape(row), p) for p in printed), (line, row, printed)
