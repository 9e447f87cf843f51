"""One small run for all tests of its page, trained once; a browser where there is one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jcnn.config import load_experiment
from jcnn.training import train

CONFIG = """
name = "small"
[data]
name = "digits"
train_count = 200
[optimizer]
name = "sgd"
learning_rate = 0.1
[training]
epochs = 2
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


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "small.toml").write_text(CONFIG)
    train(load_experiment(folder / "small.toml"), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window; tests skip where it or Playwright is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield chromium
        chromium.close()
