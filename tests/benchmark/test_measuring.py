"""``jcnn bench``: what it measures and what it refuses. Not how fast anything is."""

import json
import math
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import benchmark, ops, reference
from jcnn.benchmark import Effort, bench_operations, choose_cases
from jcnn.benchmark.operations import in_scan, passed
from jcnn.benchmark.shapes import CASES, CONVOLUTIONS, KERNEL, convolution, other, pool
from jcnn.benchmark.steps import training_flops
from jcnn.benchmark.torch import peer as peers
from jcnn.cli import main
from jcnn.config import load_experiment
from jcnn.proof.recording import Call

# They start processes, train or compile much.
pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parents[2] / "configs"
QUICK = Effort(repeats=2, seconds=0.05, sample_seconds=0.0)


@pytest.mark.slow
def test_command_measures_the_step(config, capsys):
    quick = ["--no-torch", "--repeats", "1", "--seconds", "0.01", "--scan-steps", "2"]
    assert main(["bench", config, "--json", "--plot", "ratios.svg", *quick]) == 0
    document = json.loads(capsys.readouterr().out)
    rows = {row["what"]: row for row in document["rows"]}
    assert list(rows) == [
        "training step",
        "examples per second",
        "share of the matrix-product peak",
        "temporary memory of the step",
        "compile time of the step",
        "training step in a scan",
        "temporary memory of the scan",
    ]
    for row in rows.values():
        assert row["torch"] is None
        assert all(math.isfinite(row[name]) and row[name] >= 0 for name in ("jcnn", "jax.grad"))
    for what in ("training step", "training step in a scan", "compile time of the step"):
        assert rows[what]["ratio"]["jax.grad"] == rows[what]["jax.grad"] / rows[what]["jcnn"]
        assert set(rows[what]["spread"]["jcnn"]) == {"n", "min", "q1", "q3"}
    assert "jcnn: 2 steps per scan" in rows["training step in a scan"]["note"]
    assert {"name", "notes", "versions", "hardware", "date"} <= set(document)
    assert "</svg>" in Path("ratios.svg").read_text()


def test_without_a_scan_the_step_alone_is_measured(config, capsys):
    quick = ["--no-torch", "--repeats", "1", "--seconds", "0.01", "--json"]
    assert main(["bench", config, *quick, "--scan-steps", "0"]) == 0
    whats = [row["what"] for row in json.loads(capsys.readouterr().out)["rows"]]
    assert whats[0] == "training step"
    assert [what for what in whats if "scan" in what] == []
    assert main(["bench", config, *quick, "--scan-steps", "1"]) == 2
    assert "--scan-steps 1: expected 0, or at least 2" in capsys.readouterr().err


def test_no_seconds_are_no_time_and_not_the_default(config, monkeypatch):
    given = []
    monkeypatch.setattr(benchmark, "bench_step", lambda *_, effort, **__: given.append(effort))
    monkeypatch.setattr(benchmark, "print_benchmark", lambda _: None)
    for seconds in (["--seconds", "0"], []):
        assert main(["bench", config, *seconds]) == 0
    assert [effort.seconds for effort in given] == [0.0, 5.0]


def test_arithmetic_counts_no_input_gradient_of_the_first_layer():
    experiment = load_experiment(CONFIGS / "mnist.toml")
    first = 2 * 24 * 24 * 32 * 25
    rest = 2 * (8 * 8 * 64 * 25 * 32 + 1024 * 256 + 256 * 10)
    assert training_flops(experiment) == 2 * first + 3 * rest


TINY = (
    replace(convolution((2, 6, 6, 2), (3, 3), 4, padding=1, groups=2), passes=(KERNEL,)),
    pool("max_pool", (2, 4, 4, 2), 2),
    replace(pool("max_pool", (2, 5, 5, 2), 3, strides=2), scanned=False),
)


@pytest.mark.slow
def test_operations_have_a_row_per_pass_alone_and_in_a_scan():
    result = bench_operations(TINY, QUICK, torch=False)
    assert [row.what.partition(" (")[0] for row in result.rows] == [
        "convolution kernel gradient",
        "convolution kernel gradient in a scan",
        "max_pool forward and backward",
        "max_pool forward and backward",
        "max_pool forward and backward in a scan",
        "geometric mean: max_pool forward and backward",
    ]
    assert all(row.ratio["jax.grad"] > 0 for row in result.rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    {c.call.op: c for c in CASES if c.group != "large window"}.values(),
    ids=lambda c: c.call.op,
)
def test_both_sides_compute_the_same(case):
    call = case.call
    if not call.op.endswith("entropy"):  # their labels are of as many classes
        arrays = (
            (name, tuple(min(n, 12) for n in shape), kind) for name, shape, kind in call.arrays
        )
        call = Call(call.op, tuple(arrays), call.statics)
    for passes in case.passes:
        (f, arrays), (g, same) = (passed(call, passes, space) for space in (ops, reference))
        if call.op == "convolve_transpose":
            if passes != "forward":
                continue
            arrays = [arrays[0], jnp.flip(arrays[1], (0, 1))]  # lax.conv_transpose flips the kernel
        both = (jax.tree.leaves(jax.jit(h)(*a)) for h, a in ((f, arrays), (g, same)))
        for found, expected in zip(*both, strict=True):
            np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-4)


def test_a_scan_computes_what_the_function_does():
    x = jnp.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(in_scan(lambda x: x @ x.T, 3)(x), x @ x.T)


def test_table_of_shapes_covers_what_it_should():
    options = [dict(case.call.statics) for case in CONVOLUTIONS]
    kernels = [case.call.arrays[1][1] for case in CONVOLUTIONS]
    inputs = [case.call.arrays[0][1] for case in CONVOLUTIONS]
    assert len(CONVOLUTIONS) >= 12
    assert {x[-1] for x in inputs} >= {1, 256}
    assert {w[0] for w in kernels} >= {1, 3, 5, 11}
    assert {o.get("strides", 1) for o in options} == {1, 2, 4}
    groups = {o.get("groups", 1): x[-1] for o, x in zip(options, inputs, strict=True)}
    assert {1, 2} <= set(groups)
    assert any(g == channels for g, channels in groups.items())
    assert any(len(w) == 3 for w in kernels)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "needs either CONFIG"),
        (["tiny.toml", "--ops"], "needs either CONFIG"),
        (["--ops", "--plan"], "needs either CONFIG"),
        (["--ops", "--only", "nothing"], "is in no row"),
        (["tiny.toml", "--seconds", "inf"], "--seconds: expected a number of seconds"),
        (["tiny.toml", "--plot", "ratios.xyz"], "expected a name that ends in"),
        (["tiny.toml", "--plot", "nowhere/ratios.svg"], "expected an existing folder"),
        (["tiny.toml", "--plot", "folder.svg"], "--plot folder.svg can't be written"),
    ],
)
def test_command_refuses_what_it_cannot_do(config, capsys, arguments, sentence):
    Path("folder.svg").mkdir()
    assert main(["bench", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert sentence in captured.err


def test_without_pytorch_the_peer_is_left_out_and_the_notes_say_so(monkeypatch):
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None)
    with peers.open_peer(True) as (peer, reason):
        assert peer is None
        assert "not installed" in reason


def test_choice_of_cases():
    assert {case.group for case in choose_cases("transposed")} == {"transposed convolution"}
    assert choose_cases() == CASES


def test_dropout_case_draws_its_key():
    case = other("dropout", "", (("x", (3, 4), "float32"), ("key", (), "key<fry>")), drop_rate=0.5)
    function, arrays = passed(case.call, "forward and backward", ops)
    y, (dx,) = function(*arrays)
    assert y.shape == dx.shape == (3, 4)
