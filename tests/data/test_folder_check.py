"""``jcnn data check FOLDER`` finds everything at once."""

import io
import os

import pytest
from PIL import Image

from jcnn.cli import main
from jcnn.data.folder_check import check_folder
from jcnn.errors import UserError
from jcnn.inspection.own_folder import look
from tests.data.formats import write_colours


@pytest.fixture
def folder(tmp_path):
    return write_colours(tmp_path / "own", {"cat": 3, "dog": 3})


def found(folder):
    return {(f.kind, f.path.relative_to(folder).as_posix()) for f in check_folder(folder)[1]}


def test_a_sound_folder_has_no_findings(folder):
    (folder / "labels.csv").write_text("file,label\n")
    (folder / "cat" / "Thumbs.db").write_bytes(b"?")
    assert check_folder(folder) == (6, [])


def test_everything_is_found_in_one_pass(folder):
    broken = folder / "cat" / "000.jpg"
    broken.write_bytes(broken.read_bytes()[:60])
    (folder / "dog" / "copy.jpg").write_bytes((folder / "cat" / "001.jpg").read_bytes())
    Image.new("RGB", (3, 40)).save(folder / "cat" / "tiny.png")
    Image.new("RGB", (40, 40)).save(folder / "cat" / "named.png", format="GIF")
    (folder / "cat" / "gone.jpg").symlink_to(folder / "nowhere")
    (folder / "notes.txt").write_text("?")
    (folder / "eel").mkdir()
    assert found(folder) == {
        ("unreadable", "cat/000.jpg"),
        ("duplicate", "dog/copy.jpg"),
        ("tiny", "cat/tiny.png"),
        ("mislabelled", "cat/named.png"),
        ("broken link", "cat/gone.jpg"),
        ("stray", "notes.txt"),
        ("empty", "eel"),
    }


def test_a_line_of_pixels_is_found_as_training_refuses_it(folder):
    Image.new("RGB", (2000, 18)).save(folder / "cat" / "line.png")
    Image.new("RGB", (2000, 9)).save(folder / "cat" / "thin.png")
    Image.new("RGB", (1800, 18)).save(folder / "cat" / "long.png")
    lines = {("narrow", "cat/line.png"), ("narrow", "cat/thin.png"), ("tiny", "cat/thin.png")}
    assert found(folder) == lines


def test_a_large_image_is_checked_without_a_warning(folder, monkeypatch):
    """Half as many pixels as are refused made Pillow warn on the terminal."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)
    Image.new("RGB", (50, 40)).save(folder / "cat" / "large.png")
    assert check_folder(folder) == (7, [])
    assert look(folder).count == 7


def test_a_duplicate_in_another_class_is_said_so(folder):
    (folder / "dog" / "copy.jpg").write_bytes((folder / "cat" / "001.jpg").read_bytes())
    (finding,) = check_folder(folder)[1]
    assert "same bytes as" in finding.message
    assert "in another folder" in finding.message


def test_a_link_round_and_round_ends(folder):
    (folder / "cat" / "loop").symlink_to(folder)
    assert ("stray", "cat/loop") in found(folder)


def test_a_link_round_and_round_ends_in_a_folder_that_is_a_link_itself(folder, tmp_path):
    (folder / "cat" / "loop").symlink_to(folder.resolve())
    (tmp_path / "alias").symlink_to(folder)
    assert found(tmp_path / "alias") == found(folder)
    assert check_folder(tmp_path / "alias")[0] == check_folder(folder)[0]


@pytest.mark.skipif(os.name != "posix", reason="a named pipe")
def test_a_pipe_is_named_and_not_waited_for(folder):
    os.mkfifo(folder / "cat" / "pipe.jpg")
    (finding,) = check_folder(folder)[1]
    assert finding.kind == "stray"
    assert finding.message.endswith("pipe.jpg is a pipe, a socket or a device")


def test_a_folder_that_is_none_is_named(folder):
    with pytest.raises(UserError, match="does not exist: expected a folder"):
        check_folder(folder / "none")
    with pytest.raises(UserError, match="is a file: expected a folder"):
        check_folder(folder / "cat" / "000.jpg")


def test_what_jcnn_itself_writes_there_is_no_finding(folder):
    (folder / "own.toml").write_text("")
    run = folder / "runs" / "own"
    (run / "checkpoints" / "4").mkdir(parents=True)
    (run / "checkpoints" / "9").mkdir()
    for name in ("experiment.toml", "metrics.jsonl", "checkpoints/4/arrays.safetensors"):
        (run / name).write_bytes(b"?")
    assert check_folder(folder) == (6, [])


def test_a_terminal_shows_how_far_it_has_come(folder, monkeypatch):
    shown = {}
    for terminal in (True, False):
        said = io.StringIO()
        monkeypatch.setattr(said, "isatty", lambda terminal=terminal: terminal)
        monkeypatch.setattr("sys.stderr", said)
        assert main(["data", "check", str(folder)]) in (0, 1)
        shown[terminal] = said.getvalue()
    assert "100%" in shown[True]
    assert shown[False] == ""
