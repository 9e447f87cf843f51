"""The compiled library, built once for this folder's tests."""

from __future__ import annotations

import pytest

from jcnn.lowering import native
from jcnn.lowering.native import building


@pytest.fixture(scope="session")
def native_folder(tmp_path_factory):
    """A folder of its own that has the library; jcnn's own folder is left alone."""
    folder = tmp_path_factory.mktemp("native")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "cache_folder", lambda: folder)
        native.build()
    return folder


@pytest.fixture(scope="module")
def built(native_folder):
    """The library, for a module that may use it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "cache_folder", lambda: native_folder)
        patch.setenv("JCNN_NATIVE", "1")
        yield native.library_path()
