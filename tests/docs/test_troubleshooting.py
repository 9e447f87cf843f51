"""The messages that the page of troubleshooting quotes are those that jcnn prints."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jcnn import ops
from tests.data.formats import write_colours
from tests.docs.pages import ROOT
from tests.optional import optional

*_, needs_experiments = optional("typer", "PIL", "grain")
pytestmark = needs_experiments
PAGE = ROOT / "docs" / "guides" / "troubleshooting.md"
CONFIGS = ROOT / "configs"
IMAGE = jnp.ones((1, 3, 3))
WRONG_CALLS = (
    lambda: ops.relu(jnp.ones(3, int)),
    lambda: ops.correlate(IMAGE, jnp.ones((2, 3, 1), jnp.bfloat16)),
    lambda: ops.correlate(IMAGE, jnp.ones((2, 1, 1)), groups=2),
    lambda: jax.jvp(ops.relu, (IMAGE,), (IMAGE,)),
    lambda: jax.linear_transpose(ops.relu, IMAGE)(IMAGE),
)


@pytest.fixture
def said(tmp_path, monkeypatch, capsys):
    """What each mistake of the page prints."""
    from jcnn.cli import main
    from jcnn.cli.process import allocator_note

    monkeypatch.setenv("JCNN_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("JCNN_ALLOCATOR", "tuned")
    digits, mnist = str(CONFIGS / "digits.toml"), str(CONFIGS / "mnist.toml")
    photos = tmp_path / "photos"
    write_colours(photos, {"cat": 2})
    (photos / "owl").mkdir()
    folder = (
        f'data={{name="image_folder", folder="{photos}", classes=2, test_share=0.5, image_size=8}}'
    )
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "experiment.toml").write_text(Path(digits).read_text(encoding="utf-8"))
    (tmp_path / "run" / "metrics.jsonl").write_text("{}\n")
    for words in (
        ["summary", digits, "--set", "training.epoch=3"],
        ["summary", digits, "--set", 'training.epochs="10"'],
        ["summary", digits, "--set", "layers.3.window=30"],
        ["summary", digits, "--set", "layers.0.groups=3"],
        ["data", "check", str(photos)],
        ["train", mnist, "--out", str(tmp_path / "mnist")],
        ["train", digits, "--set", folder, "--set", "layers.8.features=2"],
        ["train", digits, "--out", str(tmp_path / "run")],
    ):
        main(words)
    printed = capsys.readouterr()
    messages = [*printed.err.splitlines(), *printed.out.splitlines(), allocator_note()]
    for call in WRONG_CALLS:
        with pytest.raises((TypeError, ValueError, NotImplementedError)) as error:
            call()
        messages.append(str(error.value))
    return messages


def test_quoted_messages_are_printed(said):
    cells = re.findall(r"^\| (`.+?) \| ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    quoted = [
        message
        for cell in cells
        for message in re.findall(r"`([^`]+)`", cell)
        if not message.startswith("--")
    ]
    assert len(quoted) > 9
    for message in quoted:
        pattern = re.escape(message).replace("…", ".*").replace("NAME", r"\w+")
        assert any(re.search(pattern, line) for line in said), (message, said)
