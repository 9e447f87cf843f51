"""An experiment small enough to measure in no time; bench needs no data."""

from pathlib import Path

import pytest

CONFIG = """
[data]
name = "digits"
[optimizer]
name = "sgd"
learning_rate = 0.1
[training]
batch_size = 2
average_decay = 0.9
augment = [{name = "flip"}]
[[layers]]
type = "conv"
features = 2
window = 3
[[layers]]
type = "relu_max_pool"
window = 2
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
features = 10
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JCNN_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setenv("JCNN_CACHE", "")
    Path("tiny.toml").write_text(CONFIG)
    return "tiny.toml"
