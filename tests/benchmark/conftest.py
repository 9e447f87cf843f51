"""An experiment small enough to measure in no time; bench needs no data."""

from pathlib import Path

import pytest

from tests.small import LAYERS

SETTINGS = """
[data]
name = "digits"
[optimizer]
name = "sgd"
learning_rate = 0.1
[training]
batch_size = 2
average_decay = 0.9
augment = [{name = "flip"}]
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JCNN_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setenv("JCNN_CACHE", "")
    Path("tiny.toml").write_text(SETTINGS + LAYERS)
    return "tiny.toml"
