"""``jcnn.ops``, and what it stands on, with one file replaced."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

ROOMS = ("axes", "geometry", "precision", "lowering", "ops")


@contextmanager
def replaced(file: str, source: str) -> Iterator[Any]:
    """Give ``jcnn.ops`` loaded afresh with another text for ``file``; the ordinary one stays."""
    name = "jcnn." + file.removesuffix(".py").replace("/", ".")
    ordinary = {key: sys.modules.pop(key) for key in list(sys.modules) if _reloaded(key)}
    import jcnn

    attributes = {key: vars(jcnn).pop(key) for key in ROOMS if key in vars(jcnn)}
    finder = _Finder(name, source)
    sys.meta_path.insert(0, finder)
    try:
        yield importlib.import_module("jcnn.ops")
    finally:
        sys.meta_path.remove(finder)
        for key in [key for key in sys.modules if _reloaded(key)]:
            del sys.modules[key]
        sys.modules.update(ordinary)
        vars(jcnn).update(attributes)


def _reloaded(module: str) -> bool:
    package, _, rest = module.partition(".")
    return package == "jcnn" and rest.partition(".")[0] in ROOMS


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, name: str, source: str) -> None:
        self.name, self.source = name, source

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_loader(fullname, _Loader(self.source))


class _Loader(importlib.abc.Loader):
    def __init__(self, source: str) -> None:
        self.source = source

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.source, f"<mutant of {module.__name__}>", "exec"), vars(module))
