"""Own files for validation: a folder beside train and test, or rows of a table of labels."""

import numpy as np
import pytest

from jcnn.data import ImageFolder
from jcnn.errors import UserError
from tests.data.formats import write_colours


def config(**keys):
    defaults = {"folder": "own", "classes": 2, "image_size": 8, "resize": 10, "worker_count": 0}
    return ImageFolder(**{**defaults, **keys})


@pytest.fixture
def three(own_folder):
    """Train, valid and test of two classes, of six, three and two images each."""
    for split, count in (("train", 6), ("valid", 3), ("test", 2)):
        write_colours(own_folder / "own" / split, {"cat": count, "dog": count})
    return own_folder / "own"


def test_a_folder_of_validation_images_is_a_split_of_its_own(three):
    data = config(validation_folder="valid")
    stream, loaded = data.stream(), data.load()
    counts = [np.bincount(stream.labels(s)).tolist() for s in ("train", "validation", "test")]
    assert counts == [[6, 6], [3, 3], [2, 2]]
    assert [len(s) for s in (loaded.train, loaded.validation, loaded.test)] == [12, 6, 4]
    assert stream.lists.validation.folder == three / "valid"
    with pytest.raises(UserError, match="own/dev does not exist"):
        config(validation_folder="dev").lists()


def test_bad_validation_images_are_skipped_too(three):
    (three / "valid" / "cat" / "000.jpg").write_bytes(b"?")
    lists = config(validation_folder="valid", on_unreadable="skip").lists()
    assert [len(files) for files in lists] == [12, 4, 5]


@pytest.mark.parametrize(
    "other", [{"validation": 0.1}, {"validation_count": 2}, {"test_share": 0.2}, {"labels": "a"}]
)
def test_a_validation_folder_excludes_other_splits(other):
    (key,) = other
    with pytest.raises(ValueError, match=rf"validation_folder or data\.{key}, found both"):
        config(validation_folder="valid", **other)


def test_a_validation_folder_that_is_not_used_is_remarked(three):
    assert "own/valid is not used: data.validation_folder = 'valid'" in config().remark()
    for used in ({"validation_folder": "valid"}, {"validation": 0.1}, {"test_folder": "valid"}):
        assert config(**used).remark() is None


TABLE = """file,label,split
train/cat/000.jpg,meow,train
train/cat/001.jpg,meow,test
train/dog/000.jpg,woof,train
train/dog/001.jpg,woof,valid
train/cat/002.jpg,meow,val
"""


def test_a_table_of_labels_may_have_a_validation_split(three):
    (three / "labels.csv").write_text(TABLE)
    lists = config(labels="labels.csv").lists()
    assert lists.validation.names == ("train/dog/001.jpg", "train/cat/002.jpg")
    assert [len(files) for files in lists[:2]] == [2, 1]
    for key in ("validation", "validation_count"):
        with pytest.raises(UserError, match=rf"validation split of its own.*without data\.{key}"):
            config(labels="labels.csv", **{key: 1}).lists()
