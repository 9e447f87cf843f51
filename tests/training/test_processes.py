"""Several processes: what they agree on, and what each says where another fails."""

from __future__ import annotations

import json
import socket
import threading
import time

import jax
import numpy as np
import pytest

from jcnn.cli import streams, supervision
from jcnn.cli.together import _code, settings_of
from jcnn.config import Distributed
from jcnn.errors import UserError
from jcnn.inspection.verification import compare_rows, compare_states
from jcnn.runs.checkpoints import Checkpoints
from jcnn.runs.place import Place
from jcnn.training import processes, train
from jcnn.training.processes import Cluster, Elsewhere
from jcnn.training.saving import Saver
from tests.torture.processes import Together, free_port


class Store:
    """The coordination service's keys and values, for threads."""

    def __init__(self):
        self.values, self.changed = {}, threading.Condition()

    def key_value_set(self, key, value, allow_overwrite=False):
        with self.changed:
            assert allow_overwrite or key not in self.values
            self.values[key] = value
            self.changed.notify_all()

    def blocking_key_value_get(self, key, milliseconds):
        with self.changed:
            assert self.changed.wait_for(lambda: key in self.values, milliseconds / 1000)
            return self.values[key]

    def key_value_dir_get(self, folder):
        return [(key, value) for key, value in self.values.items() if key.startswith(folder)]

    def key_value_delete(self, key):
        for name in [name for name in self.values if f"{name}/".startswith(f"{key}/")]:
            del self.values[name]


def members(count=3):
    """Processes that share a store, without JAX's own connection."""
    store, made = Store(), []
    for index in range(count):
        member = Cluster.__new__(Cluster)
        member.index, member.count, member._client = index, count, store
        member._patience, member._round, member._moved = 10, 0, time.monotonic()
        made.append(member)
    return made


def together(action, count=3):
    """Do something in each; return what came out, or the exception."""
    results = [None] * count

    def call(member):
        try:
            results[member.index] = action(member)
        except Exception as error:
            results[member.index] = error

    threads = [threading.Thread(target=call, args=(member,)) for member in members(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return results


def test_what_the_first_decides_is_what_all_do():
    agreed = together(lambda own: [own.agree(10 * own.index + k) for k in range(6)])
    assert agreed == [list(range(6))] * 3


def test_a_signal_to_any_of_them_reaches_all():
    def heard(own):
        before = own.any_signal(None)
        if own.index == 2:
            own._client.key_value_set("jcnn-signal", json.dumps(15))
        own.everyone(lambda: None)  # all are here
        return before, own.any_signal(15 if own.index == 2 else None)

    assert together(heard) == [(None, 15)] * 3


def test_one_mistake_is_said_once_and_ends_all():
    def action(own):
        def read():
            if own.index:
                raise UserError("no such file")
            return "read"

        return own.everyone(read)

    first, second, third = together(action)
    assert isinstance(second, UserError)
    assert str(second) == "process 1: no such file"
    assert isinstance(first, Elsewhere)
    assert isinstance(third, Elsewhere)


def test_whatever_fails_in_one_ends_all():
    def action(own):
        def read():
            if not own.index:
                raise OSError("no such device")

        own.everyone(read)

    first, *others = together(action)
    assert isinstance(first, OSError)
    assert all(isinstance(other, Elsewhere) for other in others)


@pytest.mark.parametrize(
    "next_for_others",
    [
        lambda own: own.agree(1),
        lambda own: own.holds_in_all(True),
        lambda own: own.everyone(lambda: None),
        lambda own: own.check_same({"seed": 0}),
    ],
    ids=["agree", "holds_in_all", "everyone", "check_same"],
)
def test_why_the_first_ends_reaches_the_others_whatever_they_wait_for(next_for_others):
    def action(own):
        if own.index:
            return next_for_others(own)
        return own.failed("the disk is full")

    _, *others = together(action)
    assert [(type(other), str(other)) for other in others] == [(Elsewhere, "the disk is full")] * 2


def test_what_must_hold_in_all_is_asked_of_all():
    assert together(lambda own: own.holds_in_all(True)) == [True] * 3
    assert together(lambda own: own.holds_in_all(own.index != 1)) == [False] * 3


def test_nothing_is_agreed_on_where_one_may_have_failed():
    """The others would wait for what the first, which has failed, no longer says."""
    results = together(lambda own: own.everyone(lambda: own.agree(1)))
    assert isinstance(results[0], AssertionError)


@pytest.mark.parametrize("wrong", ["newest", "restore"])
def test_a_checkpoint_that_can_not_be_read_in_one_process_ends_all(wrong, tmp_path, monkeypatch):
    def fail(*_):
        raise UserError("Read-only file system")

    monkeypatch.setattr(Checkpoints, "newest", lambda self: Place(3))
    monkeypatch.setattr(Checkpoints, wrong, fail)

    def restore(own):
        checkpoints = Checkpoints(tmp_path, read_only=own.index > 0, writers=own)
        return Saver(checkpoints, 60, 0, processes=own).restore({})

    first, *others = together(restore)
    assert (type(first), str(first)) == (UserError, "Read-only file system")
    assert all(isinstance(other, Elsewhere) for other in others)


def test_a_checkpoint_that_only_the_first_process_sees_is_named(tmp_path):
    tree = {"state": np.ones(2, np.float32), "totals": np.ones(2, np.float32)}

    def restore(own):
        folder = tmp_path / str(own.index)
        with Checkpoints(folder, read_only=own.index > 0, writers=own) as checkpoints:
            if not own.index:
                checkpoints.save(Place(3), tree, {"metrics": [], "spent": {}, "best": None})
                checkpoints.wait()
            saver = Saver(checkpoints, 60, 0, processes=own)
            assert not saver.is_seen_by_all()
            return saver.restore(jax.tree.map(np.empty_like, tree))

    _, second, _ = together(restore)
    assert isinstance(second, UserError)
    assert str(second).startswith(f"process 1: checkpoint '{tmp_path / '1' / '3'}' does not exist")


def test_what_differs_between_processes_is_named():
    first, *others = together(lambda own: own.check_same({"seed": own.index == 2, "epochs": 3}))
    assert isinstance(first, UserError)
    assert str(first).startswith("seed is False in process 0 and True in process 2: expected")
    assert all(isinstance(other, Elsewhere) for other in others)
    assert together(lambda own: own.check_same({"seed": 0})) == [None] * 3


def test_a_coordinator_that_does_not_answer_is_named_after_the_time_given():
    port, began = free_port(), time.monotonic()
    settings = Distributed(
        coordinator=f"127.0.0.1:{port}", processes=2, process_index=1, connect_seconds=1
    )
    with pytest.raises(UserError, match=rf"127\.0\.0\.1:{port} can't be reached \(.*tried for 1 s"):
        Cluster(settings)
    assert 1 <= time.monotonic() - began < 5


def test_a_process_waits_for_a_coordinator_that_comes_late():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        threading.Timer(0.3, listening.listen).start()
        processes._wait_for(f"127.0.0.1:{listening.getsockname()[1]}", 10)


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        (
            "unhealthy (stopped sending heartbeats):\n1\nThe tasks have crashed",
            "process 1 was lost: nothing was heard any more; continue with: jcnn train r --resume",
        ),
        (
            "Failed to send RPC to coordination service. Either the leader task was preempted",
            "process 0, the coordinator, was lost; continue with: jcnn train r --resume",
        ),
        (
            "absl::Status: DEADLINE_EXCEEDED: x\nRPC: /xla.CoordinationService/RegisterTask",
            "not all processes came in time (distributed.connect_seconds)",
        ),
    ],
    ids=["other", "coordinator", "late"],
)
def test_what_jax_logs_becomes_a_sentence(log, sentence):
    relay = supervision._Relay()
    relay._run = "r"
    relay._kept = ["F1126 Terminating process: distributed service detected fatal errors\n", log]
    assert relay.is_about_others()
    assert relay.reason(6) == sentence


@pytest.mark.parametrize(
    "mistake",
    [{"coordinator": "nowhere"}, {"processes": 0}, {"processes": 2, "process_index": 2}],
    ids=str,
)
def test_where_processes_meet_is_checked(mistake, tiny):
    with pytest.raises(UserError, match=rf"distributed.*{[*mistake][-1]}"):
        tiny({"distributed": mistake})


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("coordinator", "nowhere", "--coordinator: expected an address with its port"),
        ("processes", 0, "--processes: expected a value greater than 0, found 0"),
        ("process_index", 2, "--distributed: process_index is 2 of 2: expected 0 to 1"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_sentence(option, value, sentence):
    joins = {"coordinator": "node0:1234", "processes": 2, "process_index": 0, option: value}
    with pytest.raises(UserError) as caught:
        settings_of(Distributed(), joins)
    assert str(caught.value).startswith(sentence)


class Told:
    """A process that remembers what it told the others."""

    told: str | None = None
    left = False

    def failed(self, message):
        self.told = message

    def leave(self):
        self.left = True


MISTAKES = [
    (UserError("data.folder is not there"), 2, "data.folder is not there"),
    (PermissionError(13, "Permission denied", "runs/x"), 2, "'runs/x': Permission denied"),
    (OSError(28, "No space left on device"), 2, "No space left on device"),
    (ModuleNotFoundError("", name="grain"), 2, "this command needs the package 'grain', which"),
    (RuntimeError("RESOURCE_EXHAUSTED: out of memory"), 2, "memory is not enough; a smaller"),
    (BrokenPipeError(32, "Broken pipe"), 141, None),
    (Elsewhere("seed"), 2, None),
]


@pytest.mark.parametrize(("error", "code", "said"), MISTAKES, ids=[str(m[2]) for m in MISTAKES])
def test_everyday_mistakes_are_a_sentence_in_several_processes_too(
    error, code, said, capsys, monkeypatch
):
    monkeypatch.setattr(streams, "silence", lambda stream: None)
    own = Told()

    def whole():
        raise error

    assert _code(own, whole, 1) == code  # pyright: ignore[reportArgumentType]
    assert own.left
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"jcnn: {said}" if said else "")
    assert captured.err.count("\n") == (said is not None)
    assert (own.told is None) == isinstance(error, Elsewhere)


def test_a_fault_of_the_code_keeps_its_traceback(capsys):
    own = Told()

    def whole():
        raise LookupError("w")

    assert _code(own, whole, 1) == 1  # pyright: ignore[reportArgumentType]
    assert "Traceback" in capsys.readouterr().err
    assert not own.left


def test_rows_of_a_batch_are_read_alone_and_in_its_order():
    """The share of a stream's batch is that part of the whole batch, in every epoch."""
    grain = pytest.importorskip("grain", reason="needs grain")
    from jcnn.data.grain_stream import _of_rows

    def source():
        return grain.MapDataset.range(23).seed(4).shuffle()

    whole = source().batch(6, drop_remainder=True).repeat()
    part = _of_rows(source(), 6, slice(2, 5)).batch(3, drop_remainder=True).repeat()
    for step in range(8):
        np.testing.assert_array_equal(part[step], whole[step][2:5])


SPLIT = {
    "mesh": {"data": 1, "model": 2},
    "training.histograms": True,
    "layers": [
        {"type": "flatten"},
        {"type": "dense", "features": 16},
        {"type": "relu"},
        {"type": "dense", "features": 10},
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [{"mesh": {"data": 2}}, SPLIT], ids=["data", "model"])
def test_two_processes_train_what_two_devices_of_one_train(
    overrides, lively, tmp_path, monkeypatch
):
    """Also where each has half of two layers, and writes its half into the checkpoints."""
    monkeypatch.setenv("JCNN_CACHE", str(tmp_path / "xla"))
    experiment = lively({"training.epochs": 2, **overrides})
    (tmp_path / "lively.toml").write_text(experiment.to_toml())
    both = Together(tmp_path)
    both.start([str(tmp_path / "lively.toml"), "--out", str(tmp_path / "two")])
    assert both.wait() == [0, 0], both.said(0) + both.said(1)
    assert "test accuracy" in both.said(0)
    assert both.said(1) == ""
    train(experiment, tmp_path / "one")
    assert compare_states(tmp_path / "one", tmp_path / "two")[2] == []
    assert compare_rows(tmp_path / "one", tmp_path / "two")[1] == []
    files = {file.name for file in (tmp_path / "two" / "checkpoints").glob("*/arrays*")}
    assert ("arrays-1.safetensors" in files) == (overrides is SPLIT)
    alone = {"training.epochs": 3, **overrides, "mesh": {"data": 1}}
    for folder in ("one", "two"):  # on one device, wherever they began
        train(lively(alone), tmp_path / folder, resume=True)
    assert compare_states(tmp_path / "one", tmp_path / "two")[2] == []


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [{"data": 2}, SPLIT["mesh"]], ids=["data", "model"])
def test_a_folder_that_only_the_first_sees_is_enough_unless_all_write(mesh, tiny, tmp_path):
    """What is not finite is found again, too, where the checkpoints are not there."""
    steep = {"optimizer.learning_rate": 1e30, **SPLIT, "mesh": mesh}
    (tmp_path / "tiny.toml").write_text(tiny(steep).to_toml())
    both, inside = Together(tmp_path), []
    for index in range(2):
        (tmp_path / str(index)).mkdir()
        inside.append(["env", "-C", str(tmp_path / str(index))])
    where = [str(tmp_path / "tiny.toml"), "--out", "runs/x"]
    both.start(where, inside=inside)
    split = mesh == SPLIT["mesh"]
    assert both.wait() == [2 if split else 3] * 2, both.said(0) + both.said(1)
    if split:
        assert "process 1: 'runs/x/checkpoints' does not exist here: expected" in both.said(1)
        return
    assert "the loss is" in both.said(0)
    assert (tmp_path / "0" / "runs" / "x" / "failure" / "record.json").is_file()
    assert not (tmp_path / "1" / "runs").exists()


@pytest.mark.slow
def test_a_gradient_that_lies_on_the_devices_of_both_is_named_where_it_is_infinite(tiny, tmp_path):
    """The loss is finite: a product of what it is of and of 1e23 is not."""
    features, first, relu, last = SPLIT["layers"]
    first = {**first, "bias_value": 1e23}
    last = {**last, "initializer": {"name": "gaussian", "std": 1e-6}}
    experiment = tiny(
        {**SPLIT, "layers": [features, first, relu, last], "loss.name": "mean_squared_error"}
    )
    (tmp_path / "tiny.toml").write_text(experiment.to_toml())
    both = Together(tmp_path)
    both.start([str(tmp_path / "tiny.toml"), "--out", str(tmp_path / "run")])
    assert both.wait() == [3, 3], both.said(0) + both.said(1)
    assert "step 1 (epoch 1): the gradient of dense_2.w is inf" in both.said(0)


@pytest.mark.slow
@pytest.mark.thorough
def test_processes_that_mean_different_things_say_what_differs(tiny, tmp_path):
    both = Together(tmp_path)
    where = [str(tmp_path / "tiny.toml"), "--out", str(tmp_path / "run")]
    tiny()
    both.start(where, own=((), ("--set", "seed=5")))
    assert both.wait() == [2, 2]
    assert both.said(0).startswith("jcnn: seed is 0 in process 0 and 5 in process 1: expected")
    assert both.said(1) == ""
    assert not (tmp_path / "run").exists()
