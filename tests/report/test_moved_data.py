"""A run whose files lie elsewhere by now is reported on, exported and checked all the same."""

from __future__ import annotations

import pytest

from jcnn.cli import main
from tests.data.formats import write_colours

pytestmark = pytest.mark.slow  # it trains

CONFIG = """
[data]
name = "image_folder"
folder = "photos"
classes = ["blue", "red"]
image_size = 8
resize = 8
test_share = 0.5
worker_count = 0
[loss]
name = "softmax_cross_entropy"
[optimizer]
name = "sgd"
learning_rate = 0.1
[training]
epochs = 1
batch_size = 4
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
features = 2
"""


def test_every_command_that_reads_the_files_finds_them_where_they_are_now(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    write_colours(tmp_path / "photos", {"blue": 8, "red": 8})
    (tmp_path / "colours.toml").write_text(CONFIG)
    assert main(["train", "colours.toml", "--out", "run"]) == 0
    (tmp_path / "photos").rename(tmp_path / "moved")
    for command in (
        ["report", "run"],
        ["export", "run", "--format", "safetensors"],
        ["evaluate", "run"],
        ["check", "run"],
    ):
        capsys.readouterr()
        assert main(command) == 2
        assert "--set data.folder=" in capsys.readouterr().err
        assert main([*command, "--set", "data.folder=moved"]) == 0
        assert main([*command, "--set", "training.epochs=2"]) == 2
        assert "only keys of data can be changed" in capsys.readouterr().err
    assert (tmp_path / "run" / "report.html").is_file()
