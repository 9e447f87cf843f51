"""Every float16 and bfloat16 there is, through each one-argument operation and its derivative."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from tests.proof.every_input import FUNCTIONS, SLOPE, Worst, errors, every, program

SCRIPT = Path(__file__).parents[2] / "scripts" / "every_float32"
every_function = pytest.mark.parametrize("name", FUNCTIONS)
# The most ulp in half precision, whose functions are computed in float32 here and there.
HALF = 3
NAN, INF = np.nan, np.inf
# Value and derivative at -inf, inf and NaN. The loss is not finite at logits that are not, nor is
# the response of an infinite activation; the slopes of rectifiers at NaN are those of z <= 0.
AT_THE_ENDS = {
    "relu": ([0, INF, NAN], [0, 1, 0]),
    "leaky_relu": ([-INF, INF, NAN], [SLOPE, 1, SLOPE]),
    "prelu": ([-INF, INF, NAN], [SLOPE, 1, SLOPE]),
    "unit_step": ([0, 1, 0], [0, 0, 0]),
    "signum": ([-1, 1, NAN], [0, 0, 0]),
    "sigmoid": ([0, 1, NAN], [0, 0, NAN]),
    "tanh": ([-1, 1, NAN], [0, 0, NAN]),
    "scaled_tanh": ([-1.7159, 1.7159, NAN], [0, 0, NAN]),
    "gelu": ([0, INF, NAN], [0, 1, NAN]),
    "binary_cross_entropy, target 0": ([NAN, NAN, NAN], [0, 1, NAN]),
    "binary_cross_entropy, target 1": ([INF, NAN, NAN], [-1, 0, NAN]),
    "local_response_norm, one channel": ([NAN, NAN, NAN], [NAN, NAN, NAN]),
}


def assert_within_limits(name, inputs, most=np.inf):
    function = FUNCTIONS[name]
    found = errors(function, program(function), inputs)
    for worst, limit in zip(found, function.limits, strict=True):
        assert worst.ulp <= min(limit, most), worst


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@every_function
def test_every_value_of_half_precision(name, dtype):
    assert_within_limits(name, every(dtype), HALF)


@every_function
def test_a_sample_of_float32(name):
    """All of them: scripts/every_float32."""
    chosen = np.random.default_rng(0).integers(0, 2**32, 1 << 18, dtype=np.uint32)
    assert_within_limits(name, chosen.view(np.float32))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@every_function
def test_what_infinity_and_nan_give(name, dtype):
    """Every NaN there is in half precision."""
    nans = np.array([NAN], dtype) if dtype == "float32" else every(dtype)
    limit = 8 * float(jnp.finfo(dtype).eps)
    with np.errstate(invalid="ignore"):  # whatever is done with signalling ones
        inputs = np.concatenate([np.array([-INF, INF], nans.dtype), nans[np.isnan(nans)]])
        both = [np.asarray(a, np.float64) for a in program(FUNCTIONS[name])(inputs)]
    for found, ends in zip(both, AT_THE_ENDS[name], strict=True):
        expected = [*ends[:2], *[ends[2]] * (len(inputs) - 2)]
        np.testing.assert_allclose(found, expected, limit, limit)


@every_function
def test_an_error_of_ten_units_is_seen_in_value_and_derivative(name):
    """Of 1, and of a result near 1."""
    function = FUNCTIONS[name]
    inputs = np.linspace(0.5, 2, 1000, dtype=np.float32)

    def wrong(a):
        return [b + 10 * jnp.finfo(b.dtype).eps for b in program(function)(a)]

    found = errors(function, wrong, inputs)
    assert all(w.ulp > limit for w, limit in zip(found, function.limits, strict=True))


@pytest.mark.parametrize("wrong", [NAN, INF, -INF])
def test_one_result_that_is_no_number_is_seen(wrong):
    function = FUNCTIONS["tanh"]

    def run(a):
        return [np.asarray(b).copy() for b in program(function)(a)]

    def broken(a):
        value, derivative = run(a)
        value[77_777] = derivative[88_888] = wrong
        return value, derivative

    inputs = np.linspace(-1, 1, 100_000, dtype=np.float32)
    assert errors(function, broken, inputs) == (
        Worst(INF, inputs[77_777].item()),
        Worst(INF, inputs[88_888].item()),
    )


def test_only_zero_may_stand_for_a_number_below_the_smallest_normal_one():
    function = replace(FUNCTIONS["relu"], real=lambda a: (a, np.ones_like(a)))
    tiny = np.array([2.0**-130, 2.0**-127], np.float32)

    def run(factor):
        return lambda a: (factor * a, np.ones_like(a))

    assert errors(function, run(np.float32(0)), tiny)[0].ulp == 0
    assert errors(function, run(np.float32(1)), tiny)[0].ulp == 0
    assert errors(function, run(np.float32(0.5)), tiny)[0].ulp > 1e5
    assert errors(function, run(np.float32(0)), np.float32([2.0**-123]))[0].ulp > 1e6


@pytest.fixture
def script():
    """scripts/every_float32 as a module."""
    loader = importlib.machinery.SourceFileLoader("every_float32", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def test_the_script_writes_its_table_between_the_pages_marks(script, tmp_path, capsys):
    page = tmp_path / "proof.md"
    page.write_text(f"before\n{script.BEGIN}\nold\n{script.END}\nafter\n", encoding="utf-8")
    script.PAGE = page
    assert script.main(["--share", "0.00001", "--jobs", "1", "--write"]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{script.BEGIN}\n")
    assert text.endswith(f"{script.END}\nafter\n")
    assert "old" not in text
    assert all(f"| {name} |" in text for name in FUNCTIONS)
    assert "42,950 numbers" in capsys.readouterr().out


def test_the_script_says_what_exceeds_its_limit(script, capsys, monkeypatch):
    wrong = replace(FUNCTIONS["tanh"], limits=(0.125, 6))
    monkeypatch.setitem(FUNCTIONS, "tanh", wrong)
    arguments = ["--share", "0.00001", "--jobs", "1", "--only", "tanh"]
    assert script.main(arguments) == 1
    assert "tanh: value off by" in capsys.readouterr().out


def test_a_part_of_the_functions_is_not_written(script):
    with pytest.raises(SystemExit):
        script.main(["--only", "tanh", "--write"])


def test_the_parts_of_the_numbers_are_all_of_them(script):
    for step in (1, 3, 101):
        bits = np.concatenate(
            [np.arange(part.start, part.stop, part.step) for part in script.parts(step, 2**20)]
        )
        np.testing.assert_array_equal(bits, np.arange(0, 2**20, step))
