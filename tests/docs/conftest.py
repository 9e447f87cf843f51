"""What several tests of the documentation share."""

import importlib
import sys

import pytest

from tests.docs.pages import ROOT


@pytest.fixture
def website(monkeypatch):
    """The builder's modules."""
    monkeypatch.syspath_prepend(str(ROOT / "website"))
    before = set(sys.modules)
    yield lambda name: importlib.import_module(name)
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and "website" in sys.modules[name].__file__:
            del sys.modules[name]
