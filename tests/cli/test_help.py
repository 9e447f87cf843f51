"""What ``--help`` prints: every word of it, in a terminal and in a pipe."""

import functools
import os
import subprocess
import sys

from tests.optional import optional

*_, needs_experiments = optional("typer", "PIL", "grain")
pytestmark = needs_experiments


def _commands():
    import typer

    from jcnn.cli.app import app

    groups = [((), typer.main.get_command(app))]
    for words, command in groups:
        inner = getattr(command, "commands", {})
        groups += [((*words, name), child) for name, child in inner.items()]
    return [(words, command) for words, command in groups if not hasattr(command, "commands")]


def test_no_help_has_words_in_brackets():
    """Rich takes ``[a free one]`` for markup and shows nothing; ``show_default`` is for those."""
    held = {
        (*words, parameter.name): parameter.help
        for words, command in _commands()
        for parameter in command.params
        if "[" in (parameter.help or "")
    }
    assert not held


def test_the_default_of_an_option_is_shown():
    shown = _help("sweep"), _help("demo"), _help("report"), _help("init")
    for text, words in zip(
        shown,
        ("runs/NAME-sweep", "a free one", "the first, and the surest mistake", "NAME OF DIR.toml"),
        strict=True,
    ):
        assert words in text


def test_a_run_s_set_is_said_to_be_of_its_data():
    for command in ("evaluate", "report", "export"):
        assert "data.KEY=VALUE" in _help(command)


def test_every_config_is_said_to_be_a_file_or_a_name():
    told = {
        (*words, parameter.metavar): parameter.help
        for words, command in _commands()
        for parameter in command.params
        if "CONFIG" in (parameter.metavar or "")
    }
    assert {"train", "summary", "check", "sweep", "bench", "tune"} <= {words[0] for words in told}
    for words, text in told.items():
        assert "the name of one that comes with jcnn" in text, words
        assert ("run's folder" in text) == ("RUN" in words[-1] or words[0] == "train"), words


def test_brackets_in_usage_stand_for_what_may_be_left_out():
    assert "[[" not in _help("init") + _help("bench") + _help("tune") + _help("layers")


@functools.cache
def _help(command):
    environment = {**os.environ, "COLUMNS": "150"}
    done = subprocess.run(
        [sys.executable, "-m", "jcnn", command, "--help"],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    return done.stdout
