"""Own files as people have them: flat folders, tables of labels, leftovers, broken ones."""

import logging
import math

import numpy as np
import pytest
from PIL import Image

from jcnn.data import ImageFolder
from jcnn.data.folder_scan import walk
from jcnn.data.label_table import Row, class_names, read_table
from jcnn.errors import UserError
from tests.data.formats import write_colours, write_image


def config(**keys):
    defaults = {"folder": "own", "classes": 2, "image_size": 8, "resize": 10, "worker_count": 0}
    return ImageFolder(**{**defaults, **keys})


@pytest.fixture
def flat(own_folder):
    """Two classes of ten images, without splits."""
    return write_colours(own_folder / "own", {"cat": 10, "dog": 10})


def names(files):
    return list(files.names)


def test_a_flat_folder_says_how_it_can_be_split(flat):
    with pytest.raises(UserError, match=r"train/CLASS/ and test/CLASS/.*data\.test_share = 0\.2"):
        config().lists()


def test_a_flat_folder_is_split_in_the_same_share_of_each_class(flat):
    lists = config(test_share=0.2).lists()
    assert np.bincount(lists.test.labels).tolist() == [2, 2]
    assert np.bincount(lists.train.labels).tolist() == [8, 8]
    assert sorted(names(lists.train) + names(lists.test)) == sorted(
        f"{c}/{k:03}.jpg" for c in ("cat", "dog") for k in range(10)
    )


def test_the_split_depends_on_the_seed_alone(flat):
    first, again, other = (config(test_share=0.3, split_seed=s).lists().test for s in (0, 0, 1))
    assert names(first) == names(again)
    assert names(first) != names(other)
    # written down: every machine and version takes these
    assert names(first)[:3] == ["cat/000.jpg", "cat/005.jpg", "cat/009.jpg"]


def test_a_share_that_is_no_number_is_refused():
    with pytest.raises(UserError, match=r"test_share: expected a finite number, found nan"):
        config(test_share=math.nan)


@pytest.mark.parametrize("test_share", [0.001, 0.999])
def test_a_share_that_leaves_nothing_is_refused(flat, test_share):
    with pytest.raises(
        UserError, match=r"data\.test_share is 0\.\d+, which is \d+ of the 20 files"
    ):
        config(test_share=test_share).lists()


@pytest.mark.parametrize("keys", [{"test_share": 0.5}, {"test_share": 0.2, "validation": 0.4}])
def test_a_class_of_one_image_keeps_it_for_training(own_folder, keys):
    counts = {"ant": 1, "bee": 1, "cat": 8}
    write_colours(own_folder / "own", counts)
    lists = config(classes=3, **keys).lists()
    assert set(lists.train.labels) == {0, 1, 2}
    assert len(lists.test) == round(keys["test_share"] * 10)


@pytest.mark.parametrize(
    "keys", [{"validation": 0.99}, {"validation": 15}, {"validation_count": 15}]
)
def test_a_validation_split_that_would_empty_a_class_is_refused(flat, keys):
    (key,) = keys
    with pytest.raises(UserError, match=rf"data\.{key} is 1[56] of the 16 .*: expected 14 at most"):
        config(test_share=0.2, **keys).lists()


def test_classes_of_one_file_each_cannot_be_split(flat):
    (flat / "t.csv").write_text("file,label\ncat/000.jpg,a\ndog/000.jpg,b\n")
    with pytest.raises(UserError, match=r"is 1 of the 2 files of .*: expected two or more of a cl"):
        config(labels="t.csv", test_share=0.5).lists()


def test_validation_is_a_split_of_its_own(flat):
    stream = config(test_share=0.2, validation=0.25).stream()
    counts = [np.bincount(stream.labels(s)).tolist() for s in ("train", "validation", "test")]
    assert counts == [[6, 6], [2, 2], [2, 2]]
    every = [name for files in stream.lists for name in files.names]
    assert len(set(every)) == 20
    data = config(test_share=0.2, validation=4).load()
    assert [len(s) for s in (data.train, data.validation, data.test)] == [12, 4, 4]


def test_validation_count_needs_no_test_images(own_folder):
    write_colours(own_folder / "own" / "train", {"cat": 4, "dog": 4})
    lists = config(validation_count=2).lists()
    assert (len(lists.train), len(lists.test), lists.validation) == (6, 2, None)
    with pytest.raises(UserError, match="own/test does not exist"):
        config().lists()


def test_both_kinds_of_validation_are_refused():
    with pytest.raises(ValueError, match=r"data\.validation or data\.validation_count, found both"):
        config(validation=0.1, validation_count=3)


@pytest.mark.parametrize("value", [0, -1, 1.0, 1.5, True, "1"])
def test_a_validation_that_is_no_part_is_refused(value):
    with pytest.raises(ValueError, match="number of examples, or a share between 0 and 1"):
        config(validation=value)


def test_more_classes_than_anybody_has_are_refused_where_there_is_no_folder_to_count_them():
    with pytest.raises(ValueError, match="classes: expected a value of at most 1000000 or"):
        config(classes=10**9)
    assert len(config(classes=10**6).class_names) == 10**6


def test_leftovers_of_systems_are_passed_over(flat):
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
        (flat / name).write_bytes(b"?")
        (flat / "cat" / name).write_bytes(b"?")
    for name in ("@eaDir", "__MACOSX"):
        (flat / name).mkdir()
        (flat / "dog" / name).mkdir()
    assert len(config(test_share=0.2).lists().train) == 16


def write_run(folder):
    """What a training leaves."""
    (folder / "checkpoints").mkdir(parents=True)
    for name in ("experiment.toml", "metrics.jsonl"):
        (folder / name).write_text("?")


@pytest.mark.parametrize(
    "run", ["runs/own", "runs/own-sweep/1", "run", "sweep/2", "sweep/seed=1/2"]
)
def test_what_jcnn_itself_writes_there_is_passed_over(flat, run):
    (flat / "own.toml").write_text("")
    write_run(flat / run)
    assert config(test_share=0.2).class_names == ("cat", "dog")
    assert len(config(test_share=0.2).lists().train) == 16


def test_an_empty_folder_of_runs_is_passed_over(flat):
    (flat / "runs").mkdir()
    assert config(test_share=0.2).class_names == ("cat", "dog")


def test_a_class_that_is_called_runs_is_a_class(own_folder):
    folder = write_colours(own_folder / "own", {"runs": 10, "walks": 10})
    write_run(folder / "runs" / "own")
    lists = config(test_share=0.2).lists()
    assert config(test_share=0.2).class_names == ("runs", "walks")
    assert np.bincount(lists.train.labels).tolist() == [8, 8]


def test_all_that_does_not_belong_there_is_named_at_once(flat):
    (flat / "cat" / "a.txt").write_text("?")
    (flat / "dog" / "b.txt").write_text("?")
    (flat / "dog" / "c.jpg").symlink_to(flat / "nowhere.jpg")
    with pytest.raises(
        UserError, match=r"cat/a\.txt is a stray file, and so are .*dog/b\.txt, .*c\.jpg"
    ):
        config(test_share=0.2).lists()


def test_a_link_that_leads_nowhere_is_called_so(flat):
    (flat / "dog" / "c.jpg").symlink_to(flat / "nowhere.jpg")
    with pytest.raises(UserError, match=r"c\.jpg is a link that leads nowhere"):
        config(test_share=0.2).lists()


def test_a_link_to_itself_leads_nowhere(flat):
    (flat / "dog" / "c.jpg").symlink_to("c.jpg")
    with pytest.raises(UserError, match=r"c\.jpg is a link that leads nowhere"):
        config(test_share=0.2).lists()
    (flat / "round").symlink_to("round")
    with pytest.raises(UserError, match=r"round is a link that leads nowhere"):
        config(test_share=0.2).lists()
    kept = {path.name for path, _ in walk(flat, (".jpg",))}
    assert {"round", "c.jpg", "000.jpg"} <= kept


def test_names_of_any_encoding_are_split_as_others(flat):
    try:
        (flat / "cat" / "001.jpg").rename(flat / "cat" / "caf\udce9.jpg")
    except OSError:
        pytest.skip("this disk takes names in UTF-8 alone")
    lists = config(test_share=0.5).lists()
    assert len(lists.train) == len(lists.test) == 10
    assert "cat/caf\udce9.jpg" in names(lists.train) + names(lists.test)


def test_links_to_images_are_images(flat):
    (flat / "dog" / "c.jpg").symlink_to(flat / "dog" / "000.jpg")
    assert "dog/c.jpg" in names(config(test_share=0.5).lists().train)


def test_unreadable_files_are_skipped_where_that_is_wanted(flat, caplog):
    bad = flat / "cat" / "003.jpg"
    bad.write_bytes(bad.read_bytes()[:50])
    with pytest.raises(UserError, match=r"cat/003\.jpg is a broken image"):
        config(test_share=0.2).load()
    with caplog.at_level(logging.WARNING, "jcnn"):
        lists = config(test_share=0.2, on_unreadable="skip").lists()
    assert len(lists.train) + len(lists.test) == 19
    assert f"left out: {bad} is a broken image" in caplog.text


def test_a_split_of_which_nothing_can_be_read_is_refused(own_folder):
    folder = write_colours(own_folder / "own", {"train/cat": 3, "train/dog": 3, "test/cat": 1})
    (folder / "test" / "cat" / "000.jpg").write_bytes(b"?")
    (folder / "test" / "dog").mkdir()
    (folder / "test" / "dog" / "000.jpg").write_bytes(b"?")
    with pytest.raises(UserError, match=r"none of the 2 files of a split in .*test can be read"):
        config(on_unreadable="skip").lists()


def test_a_line_of_pixels_is_refused_before_it_is_made_as_large_as_the_memory(flat, caplog):
    line = flat / "cat" / "line.png"
    Image.new("L", (1, 100_000)).save(line)
    with pytest.raises(UserError, match=r"line\.png is an image of 1 x 100000 pixels: expected"):
        config().read_example(line)
    lists = config(test_share=0.5, on_unreadable="skip").lists()
    assert "cat/line.png" not in names(lists.train) + names(lists.test)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_gray_and_colour_images_serve_networks_of_either_kind(own_folder, channels, mode):
    for name in ("cat", "dog"):
        (own_folder / "own" / name).mkdir(parents=True)
        for k in range(4):
            Image.new(mode, (12, 12), 100).save(own_folder / "own" / name / f"{k}.png")
    data = config(test_share=0.5, channels=channels, mean=(0, 0, 0), standard_deviation=(1, 1, 1))
    assert data.input_shape == (8, 8, channels)
    x, _ = next(data.stream().train_batches(4, seed=0))
    assert x.shape == (4, 8, 8, channels)
    test = data.load().test.x
    gray = 100 if mode == "L" else 0.299 * 100
    first = test[..., 0]
    np.testing.assert_allclose(first * 255, 100 if channels == 3 else round(gray), atol=0.6)


def test_gray_images_take_the_mean_of_the_normalisation(own_folder, tmp_path):
    write_image(tmp_path / "a.png", size=(10, 10))
    keys = {"channels": 1, "image_size": 10, "standard_deviation": (1, 1, 1)}
    plain = config(mean=(0, 0, 0), **keys).read_example(tmp_path / "a.png")
    centred = config(mean=(0.2, 0.3, 0.4), **keys).read_example(tmp_path / "a.png")
    np.testing.assert_allclose(plain - centred, 0.3, rtol=1e-5)


TABLE = "file,label,split\ncat/000.jpg,meow,train\ncat/001.jpg,meow,test\ndog/000.jpg,woof,train\n"


def test_a_table_of_labels_says_classes_and_splits(flat):
    (flat / "labels.csv").write_text(TABLE)
    lists = config(labels="labels.csv").lists()
    assert config(labels="labels.csv").class_names == ("meow", "woof")
    assert names(lists.train) == ["cat/000.jpg", "dog/000.jpg"]
    assert lists.train.labels.tolist() == [0, 1]
    assert (names(lists.test), lists.test.labels.tolist()) == (["cat/001.jpg"], [0])
    assert config(labels="labels.csv").resolved().classes == ("meow", "woof")


def test_a_table_without_training_files_is_refused(flat):
    (flat / "t.csv").write_text("file,label,split\ncat/000.jpg,a,test\ndog/000.jpg,b,test\n")
    with pytest.raises(UserError, match="names no file for training"):
        config(labels="t.csv").lists()


def test_a_table_of_splits_and_a_share_exclude_each_other(flat):
    """Else training would learn from files that the table keeps for testing."""
    (flat / "labels.csv").write_text(TABLE)
    with pytest.raises(UserError, match=r"expected an experiment without data\.test_share, found"):
        config(labels="labels.csv", test_share=0.5).lists()


@pytest.mark.parametrize(
    "text",
    [
        "id;breed\n{a};x\n{b};y\n{c};x\n",
        "\ufeffFilename\tClass\r\n{a}.jpg\tx\r\n{b}.jpg\ty\r\n{c}.jpg\tx\r\n\r\n",
        'size,image,label\n3,"{a}.jpg",x\n4,{b}.jpg, y \n5,{c}.jpg,x\n',
    ],
    ids=["semicolons and no endings", "tabs, Windows", "quotes and more columns"],
)
def test_tables_as_people_have_them(flat, text):
    files = {"a": "cat/002", "b": "dog/003", "c": "cat/004"}
    (flat / "t.csv").write_text(text.format(**files), encoding="utf-8")
    lists = config(labels="t.csv", test_share=0.3).lists()
    found = sorted(names(lists.train) + names(lists.test))
    assert found == ["cat/002.jpg", "cat/004.jpg", "dog/003.jpg"]


CAFE = ("caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}")


@pytest.mark.parametrize(
    ("written", "on_disk"),
    [
        ("cat/c", "cat/c.PNG"),
        ("cat/c.png", "cat/c.PNG"),
        ("CAT/C.png", "cat/c.PNG"),
        ("./cat/c", "cat/c.PNG"),
        ("../own/cat/c", "../own/cat/c.PNG"),
        (f"cat/{CAFE[0]}.png", f"cat/{CAFE[1]}.png"),
        (f"cat/{CAFE[0].upper()}", f"cat/{CAFE[1]}.png"),
        ("cat/both", "cat/both.jpg"),
        ("cat/both.JPG", "cat/both.JPG"),
    ],
)
def test_a_table_may_name_a_file_in_other_letters(flat, written, on_disk):
    place = flat / on_disk
    for name in {on_disk, "cat/both.jpg"}:
        write_image(flat / "x.png")
        (flat / "x.png").rename(flat / name)
    if sorted(path.name for path in place.parent.iterdir()).count(place.name) != 1:
        pytest.skip("this disk has its own spelling of names")
    (flat / "t.csv").write_text(f"file,label\n{written},a\ndog/000.jpg,b\n", encoding="utf-8")
    rows = read_table(flat / "t.csv", flat, ImageFolder.kind)
    assert [row.name for row in rows] == [on_disk, "dog/000.jpg"]


def test_a_name_that_may_be_two_files_is_named(flat):
    (flat / "cat" / "000.jpg").rename(flat / "cat" / "Two.jpg")
    (flat / "cat" / "001.jpg").rename(flat / "cat" / "TWO.JPG")
    if len(list((flat / "cat").iterdir())) < 10:
        pytest.skip("this disk does not tell capitals apart")
    (flat / "t.csv").write_text("file,label\ncat/two,a\ndog/000.jpg,b\n")
    with pytest.raises(
        UserError, match=r"line 2: .*'cat/two', which may be cat/TWO\.JPG or cat/Two"
    ):
        config(labels="t.csv", test_share=0.5).lists()


def test_numbers_as_labels_keep_their_order(flat):
    rows = "".join(f"cat/{k:03}.jpg,{k}\ndog/{k:03}.jpg,{k}\n" for k in (9, 2, 0))
    (flat / "t.csv").write_text("file,label\n" + rows.replace(",0", ",10"))
    assert config(labels="t.csv", classes=3).class_names == ("2", "9", "10")


def test_numbers_that_are_equal_and_such_of_any_length_have_one_order(flat):
    long = "1" * 5000
    rows = [Row(name, name, None) for name in ("7", long, "07", "007", "0", "12")]
    for order in (rows, rows[::-1]):
        assert class_names(order) == ("0", "007", "07", "7", "12", long)


def test_what_only_looks_like_an_end_of_a_line_is_part_of_a_label(flat):
    rows = "".join(f"cat/{k:03}.jpg,a\u2028b\ndog/{k:03}.jpg,c\x0cd\r\n" for k in range(5))
    (flat / "t.csv").write_bytes(f"file,label\n{rows}".encode())
    found = config(labels="t.csv", test_share=0.5)
    assert found.class_names == ("a\u2028b", "c\x0cd")
    assert len(found.lists().train) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,x\na,b\n", "no column 'label'"),
        ("", "no column 'file'"),
        ("file,label\n", "has no line after its first"),
        ("file,label\ncat/000.jpg\n", "line 2: expected 2 columns, found 1"),
        ("file,label\ncat/000.jpg,\n", "line 2: expected a label"),
        ("file,label\nx.jpg,a\ny.jpg,b\n", r"'x\.jpg' \(line 2\), 'y\.jpg' \(line 3\)"),
        ("file,label\ncat/000.jpg,a\ncat/000.jpg,b\n", "twice, as 'a' and as 'b'"),
        (
            "file,label\ncat/000.jpg,a\n./dog/../cat/000,b\n",
            r"'cat/000\.jpg' and '\./dog/\.\./cat/000\.jpg', the same file, as 'a' and as 'b'",
        ),
        (
            "file,label,split\ncat/000.jpg,a,dev\n",
            "expected 'train', 'test' or 'validation', found 'dev'",
        ),
        ("file,label\ncat/000.jpg,a\ndog/000.jpg,b\n", "names no file for testing"),
        ("file,label\ncat/000.jpg,a\n", "has 1 label: expected 2"),
        (f"file,label\n{'a' * 200_000},b\n", "is not a table: field larger than"),
        (f"file,label\n{'a' * 300}.jpg,b\n", r"names files that are not among .*\(line 2\)"),
    ],
)
def test_a_wrong_table_is_one_sentence(flat, text, message):
    (flat / "t.csv").write_text(text)
    with pytest.raises(UserError, match=message) as raised:
        config(labels="t.csv").lists()
    assert "t.csv" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_table_that_is_not_there_is_named(flat):
    with pytest.raises(UserError, match=r"data\.labels: .*none\.csv does not exist"):
        config(labels="none.csv").lists()


def test_a_fingerprint_changes_with_names_sizes_and_classes(flat):
    def digest():
        return config(test_share=0.2).stream().digest()

    first = digest()
    assert digest() == first
    (flat / "cat" / "000.jpg").rename(flat / "cat" / "100.jpg")
    renamed = digest()
    assert renamed != first
    with (flat / "cat" / "100.jpg").open("ab") as stream:
        stream.write(b"\0")
    assert digest() != renamed


def test_few_images_need_no_processes(flat):
    assert config(test_share=0.2, worker_count="auto").stream().worker_count == 0


def test_processes_are_started_once_for_all_evaluations(flat, monkeypatch):
    stream = config(test_share=0.5).stream()
    object.__setattr__(stream, "worker_count", 1)
    opened = []

    def open_once(self, dataset):
        opened.append(dataset)
        return _Closable(iter(dataset))

    monkeypatch.setattr(type(stream), "_open", open_once)
    whole = [np.concatenate([y for _, y in stream.batches("test", 4)]) for _ in range(3)]
    assert len(opened) == 1
    assert all(y.tolist() == [0] * 5 + [1] * 5 for y in whole)


def test_the_mixed_order_is_the_same_in_every_evaluation(flat, monkeypatch):
    """So that a run that was killed and resumed ends with the same bits."""
    stream = config(test_share=0.5).stream()
    alone = [x for x, _ in stream.batches("test", 4, mixed=True)]
    object.__setattr__(stream, "worker_count", 1)
    monkeypatch.setattr(type(stream), "_open", lambda self, dataset: _Closable(iter(dataset)))
    for _ in range(3):
        for found, expected in zip(stream.batches("test", 4, mixed=True), alone, strict=True):
            np.testing.assert_array_equal(found[0], expected)


def test_an_evaluation_left_halfway_does_not_shift_the_next(flat, monkeypatch):
    stream = config(test_share=0.5).stream()
    object.__setattr__(stream, "worker_count", 1)
    monkeypatch.setattr(type(stream), "_open", lambda self, dataset: _Closable(iter(dataset)))
    halfway = stream.batches("test", 4)
    next(halfway)
    halfway.close()
    assert [len(y) for _, y in stream.batches("test", 4)] == [4, 4, 2]


class _Closable:
    def __init__(self, iterator):
        self._iterator = iterator

    def __next__(self):
        return next(self._iterator)

    def close(self):
        pass
