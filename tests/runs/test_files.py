"""What can't be written is said in a sentence; what is wrong in the code is not hidden."""

from __future__ import annotations

import errno
import os

import pytest

from jcnn.errors import UserError
from jcnn.runs import Run
from jcnn.runs.files import with_nulls, writing


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError("I/O error: No space left on device (os error 28)"),  # as safetensors says it
    ],
)
def test_what_the_system_refuses_is_one_sentence(error):
    with pytest.raises(UserError, match="'x' can't be written: No space left"), writing("'x'"):
        raise error


def test_a_fault_of_the_code_stays_what_it_is():
    with pytest.raises(TypeError, match="not serializable"), writing("'x'"):
        raise TypeError("not serializable")


def test_json_has_null_where_there_is_no_number():
    assert with_nulls({"a": [float("nan"), (1.0, float("-inf"))]}) == {"a": [None, [1.0, None]]}


@pytest.mark.parametrize("damaged", [b"\xff\xfe\x00", b"3", b"[1]", b"{"])
def test_a_damaged_row_is_named_by_its_line(tmp_path, damaged):
    run = Run(tmp_path)
    run.metrics_file.write_bytes(b'{"step": 1}\n' + damaged + b'\n{"step": 2}\n')
    with pytest.raises(UserError, match="line 2 is damaged"):
        run.metrics()


@pytest.mark.parametrize("cut", [b'{"st', b'{"name": "\xc3'])
def test_a_last_row_that_was_cut_short_is_left_out(tmp_path, cut):
    run = Run(tmp_path)
    run.metrics_file.write_bytes(b'{"step": 1}\n' + cut)
    assert run.metrics() == [{"step": 1}]
