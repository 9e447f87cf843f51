"""Packages that some tests need and jcnn does not."""

from __future__ import annotations

import importlib
from typing import Any

import pytest


def optional(*names: str) -> tuple[Any, ...]:
    """Return the modules (``None`` where one is missing) and a mark that skips if any is.

    A module that skips itself with ``importorskip`` has other tests where the package is missing
    than where it is not; marked tests are collected everywhere.
    """
    modules, missing = [], {}
    for name in names:
        try:
            modules.append(importlib.import_module(name))
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("jcnn"):
                raise
            modules.append(None)
            missing[error.name] = None
    reason = f"could not import {', '.join(map(str, missing))}"
    return *modules, pytest.mark.skipif(bool(missing), reason=reason)
