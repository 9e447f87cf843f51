import itertools
import multiprocessing
import os
import signal

import numpy as np
import pytest

from jcnn.data import ImageFolder, StreamingDataset
from jcnn.data.preparation import Evaluation
from jcnn.errors import UserError
from tests.data.formats import write_image


def config(**keys):
    defaults = {"folder": "photographs", "classes": 2, "image_size": 8, "resize": 10}
    return ImageFolder(**{**defaults, "worker_count": 0, **keys})


def take(stream, count, **keys):
    batches = stream.train_batches(4, **{"seed": 0, **keys})
    taken = list(itertools.islice(batches, count))
    batches.close()
    return taken


def same(first, second):
    return all(
        np.array_equal(x, u) and np.array_equal(y, v)
        for (x, y), (u, v) in zip(first, second, strict=True)
    )


def test_a_stream_follows_the_protocol(photographs):
    stream = config().stream()
    assert isinstance(stream, StreamingDataset)
    assert (stream.train_count, len(stream.labels("test"))) == (10, 6)
    assert stream.classes == ("cat", "dog")
    x, y = take(stream, 1)[0]
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((4, 8, 8, 3), np.float32, (4,), np.int32)


def test_test_batches_hold_every_image_once_in_order(photographs):
    batches = list(config().stream().batches("test", 4))
    assert [len(y) for _, y in batches] == [4, 2]
    assert np.concatenate([y for _, y in batches]).tolist() == [0, 0, 0, 1, 1, 1]
    expected = config().load().test
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), expected.x)


def test_an_epoch_has_whole_batches_of_distinct_images_and_each_its_own_order(photographs):
    # a colour that tells the images apart: no cut, no mirror, no shift
    stream = config(image_size=10, resize=10, mirror=False, color_shift=0).stream()
    batches = take(stream, 6)
    epochs = [np.concatenate([x[:, 5, 2] for x, _ in batches[2 * e : 2 * e + 2]]) for e in range(3)]
    for epoch in epochs:
        assert len(epoch) == 8
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[1], epochs[2])


def test_a_resumed_stream_has_the_very_same_images(photographs):
    stream = config().stream()
    whole = take(stream, 7)
    assert same(take(stream, 7), whole)
    assert same(take(stream, 3, start_step=4), whole[4:])
    assert not same(take(stream, 7, seed=1), whole)


@pytest.mark.slow
def test_worker_processes_give_what_threads_give(photographs):
    whole = take(config().stream(), 6)
    assert same(take(config(worker_count=2).stream(), 3, start_step=3), whole[3:])


@pytest.mark.slow
def test_a_signal_to_the_whole_job_leaves_the_workers_to_the_parent(photographs):
    """`timeout`, systemd and Slurm send it to all processes: the parent has to save first."""
    stream = config(worker_count=1).stream()
    batches = stream.train_batches(4, seed=0)
    next(batches)
    workers = multiprocessing.active_children()
    assert workers
    for worker in workers:
        os.kill(worker.pid, signal.SIGTERM)
    for _ in range(12):  # more than are read ahead
        next(batches)
    assert all(worker.is_alive() for worker in workers)
    stream.close()
    assert not any(worker.is_alive() for worker in workers)


@pytest.mark.slow
def test_a_broken_image_is_named_out_of_a_worker(photographs):
    broken = photographs / "train" / "cat" / "0.png"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(UserError, match=r"cat/0\.png is a broken image"):
        take(config(worker_count=1).stream(), 20)


def test_a_broken_image_is_named(photographs):
    broken = photographs / "train" / "dog" / "4.png"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(UserError, match=r"dog/4\.png is a broken image"):
        take(config().stream(), 20)
    with pytest.raises(UserError, match=r"dog/4\.png is a broken image"):
        config().load()


def test_training_images_are_cut_mirrored_and_shifted_in_colour(photographs):
    for name in ("cat", "dog"):
        for k in range(5):
            write_image(photographs / "train" / name / f"{k}.png", seed=7)
    keys = {"mean": (0, 0, 0), "standard_deviation": (1, 1, 1), "resize": 10}
    original = np.asarray(config(image_size=10, **keys).load().train.x[0])  # 10x10 in the middle
    plain = take(config(mirror=False, color_shift=0, **keys).stream(), 10)
    cuts = {x.tobytes() for batch, _ in plain for x in batch}
    assert 1 < len(cuts) <= 15  # 3 rows x 5 columns of an image 12 wide and 10 high
    mirrored = take(config(color_shift=0, **keys).stream(), 10)
    flips = {x.tobytes() for batch, _ in mirrored for x in batch} - cuts
    assert flips
    assert any(
        np.frombuffer(f, np.float32).reshape(8, 8, 3)[:, ::-1].tobytes() in cuts for f in flips
    )
    shifted = take(config(mirror=False, **keys).stream(), 10)
    for (x, _), (y, _) in zip(plain, shifted, strict=True):
        difference = y - x  # the switches keep each other's draws, so the cuts are the same
        np.testing.assert_allclose(
            difference, np.broadcast_to(difference[:, :1, :1], x.shape), atol=1e-6
        )
        assert (np.abs(difference[:, 0, 0]) > 0).any()
    assert original.shape == (10, 10, 3)


def test_an_example_of_any_size_is_cut_from_the_middle(tmp_path):
    pixels = write_image(tmp_path / "a.png", size=(30, 20))
    evaluation = Evaluation(16, 20, (0, 0, 0), (1, 1, 1))
    expected = pixels[2:18, 7:23] / 255
    np.testing.assert_allclose(evaluation.read(tmp_path / "a.png"), expected, rtol=1e-6)
    for size in ((31, 700), (9, 9), (1, 50)):
        write_image(tmp_path / "b.png", size=size)
        assert config().read_example(tmp_path / "b.png").shape == (8, 8, 3)


def test_train_count_and_validation_count_choose_images(photographs):
    stream = config(train_count=4, validation_count=2).stream()
    assert (stream.train_count, len(stream.labels("test"))) == (4, 2)
    assert stream.lists.train.names == ("cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png")
    assert stream.lists.test.names == ("cat/4.png", "dog/4.png")


def test_classes_are_known_without_any_image(own_folder):
    assert len(config(classes=1000).class_names) == 1000
    assert config(classes=["x", "y"]).class_names == ("x", "y")
    assert config(image_size=6).input_shape == (6, 6, 3)


def test_classes_keep_the_order_that_the_configuration_gives(photographs):
    data = config(classes=["dog", "cat"]).load()
    assert data.classes == ("dog", "cat")
    assert data.train.y.tolist() == [0] * 5 + [1] * 5
    np.testing.assert_array_equal(data.train.x[5:], config().load().train.x[:5])


def test_hidden_files_are_passed_over(photographs):
    (photographs / "train" / ".DS_Store").write_bytes(b"")
    (photographs / "train" / "cat" / ".DS_Store").write_bytes(b"")
    assert config().stream().train_count == 10


def add(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("?")


@pytest.mark.parametrize(
    ("change", "keys", "message"),
    [
        (lambda f: (f / "train" / "bee").mkdir(), {"classes": 3}, "bee is a class without images"),
        (lambda f: (f / "test" / "eel").mkdir(), {}, "test/eel is a class that training does not"),
        (lambda f: (f / "test" / "cats").mkdir(), {}, r"\(did you mean 'cat'\?\)"),
        (lambda f: add(f / "train" / "a.txt"), {}, r"train/a\.txt is a stray file.*folders"),
        (lambda f: add(f / "test" / "cat" / "a.txt"), {}, r"test/cat/a\.txt is a stray file"),
        (lambda f: add(f / "train" / "cat" / "x" / "y.png"), {}, "train/cat/x is a stray folder"),
        (lambda f: (f / "test").rename(f / "val"), {}, "test does not exist"),
        (
            lambda f: f.rename(f.parent / "other"),
            {},
            "photographs does not exist: expected a folder",
        ),
        (lambda f: None, {"classes": 3}, "train has 2 class folders: expected 3, as data.classes"),
        (lambda f: None, {"classes": ["cat"]}, "train/dog is a class that training does not have"),
        (lambda f: None, {"classes": ["cat", "dog", "eel"]}, "train/eel does not exist"),
        (lambda f: None, {"train_folder": "none"}, "none does not exist"),
        (
            lambda f: (f / "train" / "caf\udce9").mkdir(),
            {"classes": 3},
            r"a class folder 'caf\\udce9', whose name is not in UTF-8",
        ),
        (lambda f: add(f / "a"), {"folder": "photographs/a"}, "photographs/a is a file: expected"),
    ],
)
def test_a_wrong_folder_is_one_sentence(photographs, change, keys, message):
    change(photographs)
    with pytest.raises(UserError, match=message) as raised:
        config(**keys).stream()
    assert "\n" not in str(raised.value)


def test_an_empty_folder_is_named(photographs):
    (photographs / "none").mkdir()
    with pytest.raises(UserError, match="none is empty: expected a folder of images"):
        config(test_folder="none").stream()


def test_a_batch_larger_than_the_data_is_refused(photographs):
    with pytest.raises(UserError, match=r"training\.batch_size is 11.*only 10"):
        config().stream().train_batches(11, seed=0)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"resize": 7}, "resize >= image_size = 8, found resize = 7"),
        ({"classes": 0}, "classes"),
        ({"classes": []}, "classes"),
        ({"classes": ["a", "a"]}, "each class once"),
        ({"worker_count": -1}, "worker_count"),
        ({"worker_count": 100_000}, "worker_count"),
        ({"test_folder": "./train"}, r"data\.train_folder and data\.test_folder to be two folders"),
        ({"validation_folder": "test"}, "validation_folder to be two folders, found 'test' twice"),
    ],
)
def test_impossible_keys_are_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        config(**keys)
