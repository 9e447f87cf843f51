"""The choice of a lowering: right on what was recorded, one for each policy, never forgotten."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jcnn import lowering, ops
from jcnn.benchmark import judged, share_near
from jcnn.errors import UserError
from jcnn.lowering import (
    Geometry,
    Policy,
    Problem,
    allow_winograd,
    candidates,
    choose,
    decide,
    forced,
    noted,
    on_machine,
)
from jcnn.lowering.algorithms import eligible, serving
from jcnn.lowering.machine import read
from jcnn.lowering.problem import CORRELATIONS, POOLS

TABLES = Path(lowering.__file__).parent / "tables"
AVX2, AVX512 = (read(TABLES / f"{name}.json") for name in ("avx2", "avx512"))
RECORDED = Path(__file__).parent / "recorded"
ONE, SAME = (1, 1), ((1, 1), (1, 1))
LAYER = Geometry((32, 32), (3, 3), ONE, SAME, ONE)
GROUPS = Geometry((6, 5), (3, 3), (2, 1), SAME, ONE, groups=3)


@pytest.fixture(autouse=True)
def machine():
    with on_machine(AVX2):
        yield


def recorded(name):
    """The seconds of every lowering of drawn problems, as a machine took them."""
    lines = (RECORDED / f"{name}.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return {Problem.from_dict(row): row["seconds"] for row in rows}


@pytest.mark.parametrize("empty", [{"batch": 0}, {"channels": 0}, {"features": 0}])
@pytest.mark.parametrize("operation", CORRELATIONS)
def test_where_nothing_is_computed_nothing_is_weighed(operation, empty):
    problem = replace(Problem(operation, GROUPS, 4, 6, 6), **empty)
    assert decide(problem, Policy.current()) == ("xla", "nothing to compute")


@pytest.mark.parametrize("operation", POOLS)
def test_a_pool_of_nothing_has_a_lowering_of_pools(operation):
    """One whose program doesn't grow with the window, whatever its size."""
    large = Geometry((128, 128), (64, 64), (64, 64), ((0, 0),) * 2, ONE)
    found = decide(Problem(operation, large, 0, 3, 3), Policy.current())
    assert found.why == "nothing to compute"
    assert found.name in serving(operation)
    assert serving(operation)[found.name].serves(Problem(operation, large, 1, 3, 3))


def test_off_the_cpu_no_compiled_loops_are_taken_even_where_they_are_asked_for():
    native = dict.fromkeys(CORRELATIONS, "native_patches") | {"max_pool": "native"}
    for operation, wanted in native.items():
        problem = Problem(operation, LAYER, 4, 8, 8)
        with forced(**{operation: wanted}):
            assert decide(problem, Policy.current(), "gpu").name != wanted


def test_off_the_cpu_convolutions_are_xlas():
    for operation in CORRELATIONS:
        for g in (LAYER, GROUPS):
            assert choose(operation, g, 6, 9, platform="gpu").name == "xla"


def test_minimal_filtering_has_switches(monkeypatch):
    def chosen(**options):
        return choose("correlate", LAYER, 128, 128, **options).name

    assert chosen() == "winograd"
    with allow_winograd(False):
        assert chosen() != "winograd"
    assert chosen(dtype=jnp.float64) != "winograd"
    with jax.default_matmul_precision("highest"):
        assert chosen() != "winograd"
    monkeypatch.setenv("JCNN_WINOGRAD", "0")
    assert chosen() != "winograd"


@pytest.mark.parametrize("switch", ["JCNN_WINOGRAD", "JCNN_NATIVE"])
def test_a_switch_is_0_or_1(switch, monkeypatch):
    monkeypatch.setenv(switch, "off")
    with pytest.raises(UserError, match=f"^{switch}: expected 0, .* or 1; found 'off'"):
        choose("correlate", LAYER, 128, 128)


def test_forced_names_an_operation_and_gives_way_where_it_cannot_serve():
    with forced("winograd", correlate="xla"):
        assert choose("correlate", GROUPS, 6, 9) == ("xla", "forced")
        assert choose("kernel_gradient", GROUPS, 6, 9).why != "forced"
    assert choose("correlate", GROUPS, 6, 9).why != "forced"


def test_forced_refuses_what_there_is_not():
    with pytest.raises(ValueError, match=r"no lowering 'winogrd' \(did you mean 'winograd'\?\)"):
        forced("winogrd").__enter__()
    with pytest.raises(ValueError, match=r"no operation 'kernel_gradiant' \(did you mean"):
        forced(kernel_gradiant="xla").__enter__()


def test_what_was_compiled_is_compiled_anew_under_another_policy():
    call = jax.jit(lambda x, w: ops.correlate(x, w))
    x, w = jnp.ones((2, 9, 9, 8)), jnp.ones((3, 3, 8, 8))

    def compiled():
        with noted() as notes:
            call(x, w)
        return [name for _, _, name in notes]

    (first,) = compiled()
    assert compiled() == []
    for name in {"patches", "xla", "direct"} - {first}:
        with forced(name):
            assert compiled() == [name]
            assert compiled() == []
    assert compiled() == []
    # A machine on which starting costs nothing and multiplying much.
    costs = {"multiplied": 1.0, "convolved": 1e3, "summed": 1e3, "begun": 0.0}
    with on_machine(replace(AVX2, costs=tuple(costs.items()), measured={}, digest="other")):
        assert compiled() in (["patches"], ["winograd"])


def test_the_choice_is_a_function_of_problem_and_policy():
    problem = Problem("correlate", LAYER, 64, 64, 64)
    policy = Policy(winograd=True, machine=AVX2)
    first = candidates(problem, policy)
    candidates.cache_clear()
    assert candidates(problem, Policy(winograd=True, machine=AVX2)) == first
    assert [c.name for c in first] == [c.name for c in sorted(first, key=lambda c: c.seconds)]
    assert decide(problem, policy).name == first[0].name


def test_what_was_measured_goes_before_what_is_predicted():
    problem = Problem("correlate", LAYER, 64, 64, 64)
    best, *_, worst = candidates(problem, Policy(winograd=True, machine=AVX2))
    measured = {problem: {best.name: 2e-3, worst.name: 1e-3}}
    policy = Policy(winograd=True, machine=replace(AVX2, measured=measured, digest="measured"))
    chosen, second, *others = candidates(problem, policy)
    assert (chosen.name, chosen.measured) == (worst.name, 1e-3)
    assert (second.name, second.measured) == (best.name, 2e-3)
    assert all(other.measured is None for other in others)
    assert "measured 1 ms" in decide(problem, policy).why


def test_a_neighbour_that_was_measured_corrects_the_prediction():
    problem = Problem("correlate", LAYER, 64, 64, 64)
    plain = replace(AVX2, measured={}, digest="plain")
    before = {c.name: c.seconds for c in candidates(problem, Policy(winograd=True, machine=plain))}
    neighbour = replace(problem, batch=32)
    rows = {neighbour: {"xla": before["xla"] / 2 * 3}}
    policy = Policy(winograd=True, machine=replace(plain, measured=rows, digest="neighbour"))
    after = {c.name: c.seconds for c in candidates(problem, policy)}
    assert 1.2 < after.pop("xla") / before.pop("xla") < 3
    assert after == before


@pytest.mark.parametrize(("name", "machine"), [("avx2", AVX2), ("avx512", AVX512)])
def test_the_choice_is_near_the_best_that_was_recorded(name, machine):
    # The cores and the cache that they were recorded with, wherever this runs.
    found = judged(recorded(name), replace(machine, cores=2, cache_bytes=32 << 20))
    assert len(found) >= 60
    far = [one for one in found if one.ratio > 1.1]
    assert share_near(found) >= 0.9, "\n".join(map(str, far))


@pytest.mark.parametrize("machine", [AVX2, AVX512], ids=["AVX2", "AVX-512"])
def test_more_cores_and_smaller_caches_still_choose(machine):
    for cores in (1, 64):
        for cache_bytes in (1 << 20, 1 << 30):
            other = replace(machine, cores=cores, cache_bytes=cache_bytes)
            for operation in CORRELATIONS:
                problem = Problem(operation, LAYER, 64, 64, 64)
                assert candidates(problem, Policy(winograd=True, machine=other))


def test_of_no_example_there_is_a_choice_as_well():
    for operation in (*CORRELATIONS, *POOLS):
        assert choose(operation, LAYER, 8, 8, batch=0).name


def test_every_problem_has_a_lowering_that_may_serve():
    geometries = (
        LAYER,
        GROUPS,
        Geometry((200,), (127,), (3,), ((5, 0),), (1,)),
        Geometry((40, 40), (11, 11), (4, 4), ((0, 0),) * 2, ONE),
        Geometry((90, 90), (31, 31), ONE, ((0, 0),) * 2, ONE, groups=6),
        Geometry((9, 9, 9), (3, 3, 3), (1, 1, 1), ((1, 1),) * 3, (1, 1, 1)),
        Geometry((19, 19), (3, 3), ONE, ((0, 0),) * 2, (3, 2)),
    )
    for g in geometries:
        for operation in CORRELATIONS:
            for dtype in ("float32", "float64"):
                for precision in (None, "highest"):
                    problem = Problem(operation, g, 4, 6, 12, dtype)
                    assert eligible(problem, Policy(precision=precision, winograd=True))
