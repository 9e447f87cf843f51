"""An option that would do nothing is refused, with the reason, before anything is done."""

import pytest

from jcnn.cli import main

REFUSED = [
    ("bench --ops --set training.epochs=1", "--ops measures", "--set"),
    ("bench --ops --scan-steps 5", "--ops measures", "--scan-steps"),
    ("bench a.toml --only pool", "expected --ops beside", "--only"),
    ("bench a.toml --plan --plot x.svg", "--plan measures nothing", "--plot"),
    ("bench a.toml --plan --repeats 3", "--plan measures nothing", "--repeats"),
    ("bench a.toml --plan --seconds 3", "--plan measures nothing", "--seconds"),
    ("bench a.toml --plan --no-torch", "--plan measures nothing", "--no-torch"),
    ("bench a.toml --plan --markdown", "--plan measures nothing", "--markdown"),
    ("bench a.toml --json --markdown", "one JSON object", "--markdown"),
    ("check a --failure --set data.folder=b", "RUN has kept", "--set"),
    ("check a --failure --batch-size 2", "RUN has kept", "--batch-size"),
    ("check a --failure --samples 2", "RUN has kept", "--samples"),
    ("check a --failure --random-batch", "RUN has kept", "--random-batch"),
    ("check a --exact --samples 9", "every element", "--samples"),
    ("check a --exact --random-batch", "every element", "--random-batch"),
    ("check a --exact --failure", "a check of its own", "--failure"),
    ("check a --rounding --samples 9", "every element", "--samples"),
    ("check a --rounding --failure", "a check of its own", "--failure"),
    ("tune --check --out a.json", "writes nothing", "--out"),
    ("tune --check --left-out --out a.json", "writes nothing", "--out"),
    ("tune --check --left-out --problems 3", "draws no problems", "--problems"),
]


@pytest.mark.parametrize(("words", "reason", "option"), REFUSED)
def test_an_option_that_would_do_nothing_is_refused(words, reason, option, capsys):
    assert main(words.split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert reason in said.err
    assert option in said.err.split("expected")[1]


def test_an_option_is_refused_whatever_its_value(capsys):
    """What stands on the command line was asked for, be it what would be taken without it."""
    assert main(["check", "a", "--exact", "--samples", "1000"]) == 2
    assert "--samples" in capsys.readouterr().err
