"""What the process that runs PyTorch refuses, and what is measured nevertheless."""

import json

import pytest

from jcnn.benchmark import Effort, bench_step
from jcnn.benchmark.torch import peer as peers
from jcnn.benchmark.torch.peer import PeerError, TorchPeer
from jcnn.config import load_experiment

ALL = ("contiguous", "channels_last", "compiled")


@pytest.fixture(autouse=True)
def without_pytorch(monkeypatch):
    monkeypatch.setattr(peers, "_WORKER", "tests.benchmark.fake_worker")
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: True)


@pytest.fixture
def start(monkeypatch):
    """Start the peer; its process ``refuses`` the layouts named, or ``ends`` at them."""
    started = []

    def start(**does: str) -> TorchPeer:
        monkeypatch.setenv("FAKE_WORKER", json.dumps(does))
        started.append(TorchPeer())
        return started[-1]

    yield start
    for peer in started:
        peer.close()


def names(peer: TorchPeer) -> list[str]:
    return [subject.name for subject in peer.step_subjects()]


def test_a_layout_that_is_refused_is_left_out_and_the_others_are_measured(start, config):
    peer = start(refuses="compiled")
    peer.build_step(load_experiment(config))
    assert names(peer) == ["torch contiguous", "torch channels_last"]
    note = peer.note("contiguous")
    assert note.startswith("PyTorch: contiguous; not compiled: compiled has no very")
    assert len(note) < 240


def test_an_operation_has_the_layouts_that_are_not_refused(start):
    peer = start(refuses="contiguous compiled")
    assert [one.name for one in peer.operation_subjects({})] == ["torch channels_last"]


def test_a_peer_of_which_every_layout_is_refused_says_why(start, config):
    peer = start(refuses=" ".join(ALL))
    with pytest.raises(PeerError, match="contiguous has no"):
        peer.build_step(load_experiment(config))


def test_a_process_that_ends_while_it_builds_is_no_refusal_of_a_layout(start, config):
    peer = start(ends="compiled")
    with pytest.raises(PeerError, match="ended: no memory is left"):
        peer.build_step(load_experiment(config))


@pytest.mark.slow
def test_what_the_peers_step_lacks_is_a_note(config):
    quick = Effort(repeats=1, seconds=0.01, sample_seconds=0.0)
    result = bench_step(load_experiment(config), quick, scan_steps=0)
    assert result.notes[1:] == ("PyTorch's step is without clip in optimizer.before.",)
    assert result.rows[0].values["torch"] == 1000
