"""Training steps compiled for TPUs by their compiler, against what ``jax.grad`` derives."""

from pathlib import Path

import pytest

from jcnn import load_experiment, ops, reference
from jcnn.scaling import chip_of, compile_step, devices_for, has_tpu_compiler
from tests.selection import slow_unless

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.toml"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_tpu_compiler(), reason="needs libtpu: pip install 'jcnn[tpu]'"),
]


def compiled(path, chips, room):
    devices, compiler = devices_for(chip_of("v5e"), chips)
    assert compiler == "tpu"
    return compile_step(load_experiment(path), devices, room)[0]


@pytest.mark.parametrize(
    "path",
    slow_unless(lambda path: path.stem == "tdnn_1988", CONFIGS, lambda path: path.stem),
)
def test_a_step_is_no_worse_than_the_derived_one(path):
    chips = 4 if load_experiment(path).training.batch_size % 4 == 0 else 1
    ours, theirs = (compiled(path, chips, room) for room in (ops, reference))
    assert ours.counts["convolution"] >= theirs.counts["convolution"]
    assert ours.counts.get("while", 0) <= theirs.counts.get("while", 0)
    assert ours.flops <= 1.02 * theirs.flops
    assert ours.bytes_accessed <= 1.05 * theirs.bytes_accessed
    ours_exchanged, theirs_exchanged = (
        {collective.kind for collective in program.collectives} for program in (ours, theirs)
    )
    assert ours_exchanged == theirs_exchanged
    assert bool(ours_exchanged) == (chips > 1)
    assert ours.collective_bytes == theirs.collective_bytes
