"""Checkpoints keep Orbax quiet, and nobody else."""

from __future__ import annotations

import logging

import pytest

from jcnn.runs.checkpoints import Checkpoints


@pytest.mark.parametrize(
    ("path", "level", "kept"),
    [
        ("/x/orbax/checkpoint/a.py", logging.WARNING, False),
        ("/x/orbax/checkpoint/a.py", logging.ERROR, True),
        ("/x/grain/a.py", logging.WARNING, True),
    ],
)
def test_of_what_goes_through_absl_only_orbaxs_remarks_are_dropped(tmp_path, path, level, kept):
    with Checkpoints(tmp_path / "checkpoints"):
        pass
    record = logging.LogRecord("absl", level, path, 1, "remark", None, None)
    assert bool(logging.getLogger("absl").filter(record)) is kept
