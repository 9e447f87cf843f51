"""What can't be written is said in a sentence; what is wrong in the code is not hidden."""

from __future__ import annotations

import errno
import json
import os

import pytest

from jcnn.errors import UserError
from jcnn.runs import Run
from jcnn.runs.files import with_nulls, write_figure, write_text, writing


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


def test_a_pipe_and_a_link_stay_what_they_are(tmp_path):
    """Else a page for ``/dev/stdout`` or ``/dev/null`` would take the device's place."""
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_text(tmp_path / "pipe", "through")
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "file").read_text() == "new"
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link", "pipe"]


def test_a_fault_of_the_code_stays_what_it_is():
    with pytest.raises(TypeError, match="not serializable"), writing("'x'"):
        raise TypeError("not serializable")


def test_json_has_null_where_there_is_no_number():
    assert with_nulls({"a": [float("nan"), (1.0, float("-inf"))]}) == {"a": [None, [1.0, None]]}


ROW = {"step": 1, "epoch": 1, "split": "test", "loss": None, "accuracy": 0.5}
WRONG = [
    *(b"\xff\xfe\x00", b"3", b"[1]", b"{}", b"null", b'"x"', b"[" * 100_000),
    *(
        json.dumps({**ROW, **change}).encode()
        for change in ({"epoch": "x"}, {"split": 1}, {"loss": []}, {"step": None}, {"accuracy": 2})
    ),
]


@pytest.mark.parametrize("damaged", WRONG, ids=range(len(WRONG)))
@pytest.mark.parametrize("last", [False, True])
def test_a_damaged_row_is_named_by_its_line(tmp_path, damaged, last):
    run = Run(tmp_path)
    after = b"" if last else json.dumps(ROW).encode()
    run.metrics_file.write_bytes(json.dumps(ROW).encode() + b"\n" + damaged + b"\n" + after)
    try:
        json.loads(damaged)
    except (ValueError, RecursionError):
        if last:  # as a crash leaves it
            assert run.metrics() == [ROW]
            return
    with pytest.raises(UserError, match="line 2 is damaged"):
        run.metrics()


@pytest.mark.parametrize(
    "damaged",
    ["[]", "{}", "[" * 100_000, '{"test": null, "seconds": 1}', '{"test": {}, "seconds": "x"}'],
    ids=range(5),
)
def test_a_damaged_summary_is_named(tmp_path, damaged):
    run = Run(tmp_path)
    run.summary_file.write_text(damaged)
    with pytest.raises(UserError, match=r"summary.json' is damaged"):
        run.summary()


def test_a_figure_that_cannot_be_written_leaves_the_one_before(tmp_path):
    class Drawn:
        def savefig(self, place, format):
            place.write(format.encode())

    path = tmp_path / "ratios.svg"
    write_figure(path, Drawn())
    assert path.read_text() == "svg"
    with pytest.raises(UserError, match="can't be written: No such file"):
        write_figure(tmp_path / "nowhere" / "ratios.svg", Drawn())


@pytest.mark.parametrize("cut", [b'{"st', b'{"name": "\xc3'])
def test_a_last_row_that_was_cut_short_is_left_out(tmp_path, cut):
    run = Run(tmp_path)
    run.metrics_file.write_bytes(json.dumps(ROW).encode() + b"\n" + cut)
    assert run.metrics() == [ROW]


def test_a_name_may_be_as_long_as_the_system_takes(tmp_path):
    path = tmp_path / ("n" * 250 + ".txt")
    write_text(path, "a")
    write_text(path, "b")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "b"
