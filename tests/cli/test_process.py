"""The process starts itself again only where that helps, and once."""

from __future__ import annotations

import pytest

from jcnn.cli import process


@pytest.fixture(autouse=True)
def _linux_without_accelerator(monkeypatch):
    monkeypatch.setattr(process, "_is_glibc", lambda: True)
    monkeypatch.setattr(process, "_ACCELERATORS", ())


@pytest.mark.parametrize("command", ["train", "sweep", "evaluate", "bench", "tune"])
def test_what_computes_for_long_gets_the_tunables(command):
    environment = process.tuned_environment([command, "a.toml"], {"HOME": "/home"})
    assert environment is not None
    assert environment["GLIBC_TUNABLES"] == process.TUNABLES
    assert environment["HOME"] == "/home"


def test_the_second_process_starts_no_third():
    environment = process.tuned_environment(["train", "a.toml"], {})
    assert environment is not None
    assert process.tuned_environment(["train", "a.toml"], environment) is None


def test_other_tunables_are_kept():
    environment = process.tuned_environment(["train"], {"GLIBC_TUNABLES": "glibc.pthread.x=1"})
    assert environment is not None
    assert environment["GLIBC_TUNABLES"] == f"glibc.pthread.x=1:{process.TUNABLES}"


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        ([], {}),
        (["summary", "a.toml"], {}),
        (["train", "--help"], {}),
        (["train"], {"JCNN_ALLOCATOR": "system"}),
        (["train"], {"GLIBC_TUNABLES": "glibc.malloc.top_pad=1"}),
        (["train"], {"JAX_PLATFORMS": "cuda"}),
    ],
)
def test_left_alone(arguments, environment):
    assert process.tuned_environment(arguments, environment) is None


def test_left_alone_with_another_c_library(monkeypatch):
    monkeypatch.setattr(process, "_is_glibc", lambda: False)
    assert process.tuned_environment(["train"], {}) is None


def test_left_alone_with_an_accelerator(monkeypatch):
    monkeypatch.setattr(process, "_ACCELERATORS", ("json",))
    assert process.tuned_environment(["train"], {}) is None
    assert process.tuned_environment(["train"], {"JAX_PLATFORMS": "cpu"}) is not None
