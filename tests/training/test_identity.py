"""A run knows the data that it learned from."""

from __future__ import annotations

import json
import re

import pytest

from jcnn.errors import UserError
from jcnn.runs import Run
from jcnn.training import evaluate, train
from jcnn.training.identity import write_identity

# They start processes, train or compile much.
pytestmark = pytest.mark.slow


def test_where_it_can_not_be_kept_is_said_in_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"data\.json' can't be written: No such file"):
        write_identity(Run(tmp_path / "none"), {})


def test_other_data_under_the_same_names_are_refused(tiny, tmp_path, caplog):
    train(tiny({"training.epochs": 1}), tmp_path / "run")
    path = tmp_path / "run" / "data.json"
    written = json.loads(path.read_text())
    for key, value, message in (
        ("classes", ["x", *written["classes"][1:]], "its class 0 is 'x', theirs is '0'"),
        ("classes", written["classes"][:4], "it has 4 classes, they have 10"),
        ("counts", {"train": {"0": 1}}, "'0' had 1 examples for train, now it has"),
        ("fingerprint", "?", "not the files or their contents"),
    ):
        path.write_text(json.dumps({**written, key: value}))
        with pytest.raises(UserError, match=message):
            train(tiny({"training.epochs": 2}), tmp_path / "run", resume=True)
        with caplog.at_level("WARNING", "jcnn"):
            evaluate(tmp_path / "run")
        assert re.search(message, caplog.text)
        caplog.clear()
    path.write_text("{")
    with pytest.raises(UserError, match=r"data\.json' is damaged.*delete it"):
        train(tiny({"training.epochs": 2}), tmp_path / "run", resume=True)
    path.unlink()
    train(tiny({"training.epochs": 2}), tmp_path / "run", resume=True)
    assert json.loads(path.read_text()) == written
