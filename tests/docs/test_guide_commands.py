"""The commands of docs/guides/runs.md, run in their order in a folder with the page's own file."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from jcnn.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "runs.md"
COMMANDS = re.findall(r"^\$ jcnn (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
WRITTEN = ["sweep/sweep.svg", "sweep/sweep.json", "seven.html", "compare.html"]


@pytest.mark.slow
def test_the_page_s_commands_do_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JCNN_CACHE", "")
    (toml,) = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    Path("tiny.toml").write_text(toml)
    assert len(COMMANDS) > 8
    for command in COMMANDS:
        if "onnx" in command and importlib.util.find_spec("onnxruntime") is None:
            continue
        assert main(shlex.split(command)) == 0, (command, capsys.readouterr().err)
    assert all(Path(name).exists() for name in WRITTEN)
    card = Path("sweep/optimizer.learning_rate=0.01/0/export/README.md").read_text()
    assert 'license: "apache-2.0"' in card
