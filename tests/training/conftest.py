"""A small experiment on the embedded digits, with everything that a run must carry along."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jcnn.config import Experiment, load_experiment
from jcnn.data import Digits, Split
from jcnn.training import train

TINY = """
name = "tiny"
[data]
name = "digits"
train_count = 300
[optimizer]
name = "sgd"
learning_rate = 0.1
momentum = 0.9
[training]
epochs = 4
batch_size = 32
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
features = 10
"""

Tiny = Callable[..., Experiment]


@pytest.fixture(scope="package", autouse=True)
def _compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compile each program once: most of these tests train the same network."""
    settings = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("xla")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """Build the experiment with overrides: ``tiny({"training.epochs": 1})``."""
    monkeypatch.setenv("JCNN_CACHE", "")
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return lambda overrides=None: load_experiment(path, overrides)


LIVELY: dict[str, object] = {
    "layers": [
        {"type": "flatten"},
        {"type": "dense", "features": 16},
        {"type": "batch_norm"},
        {"type": "relu"},
        {"type": "dropout", "drop_rate": 0.3},
        {"type": "dense", "features": 10},
    ],
    "training.augment": [{"name": "shift", "pixels": 1}, {"name": "cutout", "size": 2}],
    "training.average_decay": 0.9,
}
"""Overrides that draw random numbers each step, keep running statistics and an average."""


@pytest.fixture
def lively(tiny: Tiny) -> Tiny:
    """Build the experiment with dropout, batch norm, augmentation and an average."""
    return lambda overrides=None: tiny({**LIVELY, **(overrides or {})})


@pytest.fixture(scope="package")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the lively experiment's uninterrupted run."""
    return _trained(tmp_path_factory.mktemp("whole"), LIVELY)


@pytest.fixture(scope="package")
def whole_tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the small experiment's uninterrupted run."""
    return _trained(tmp_path_factory.mktemp("whole_tiny"))


def _trained(folder: Path, overrides: dict[str, object] | None = None) -> Path:
    (folder / "tiny.toml").write_text(TINY)
    train(load_experiment(folder / "tiny.toml", overrides), folder / "run")
    return folder / "run"


@pytest.fixture(scope="package")
def digits() -> Split:
    """The examples that the small experiment learns from."""
    return Digits(train_count=300).load().train


def same_bits(one: Any, two: Any) -> bool:
    """Whether two trees of arrays are the same to the last bit."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)
