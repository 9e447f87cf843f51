"""Compiled loops: the same results, bits that repeat, chosen where they are there and allowed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jcnn import lowering, ops
from jcnn.errors import UserError
from jcnn.geometry import Geometry
from jcnn.lowering import allow_native, forced, native, noted, on_machine, pools
from jcnn.lowering.algorithms import applicable, is_native
from jcnn.lowering.machine import named
from jcnn.lowering.native import building, calls, library, patches, winograd
from jcnn.lowering.native.checking import CASES, POOLS, differences, wrong
from jcnn.lowering.native.library import LOOPS
from jcnn.lowering.problem import CORRELATIONS
from jcnn.proof.bounds import winograd_bound
from tests.lowering.compiled import LAYER, arrays, assert_near, by, problems

# A compiler takes ten seconds.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not any(map(shutil.which, building.COMPILERS)), reason="there is no C++ compiler"
    ),
]


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(problems())
def test_every_loop_computes_what_xla_does(built, problem):
    g, images, channels, features = problem
    for operation in CORRELATIONS:
        given = arrays(operation, g, images, channels, features)
        expected = by("xla", operation, g, *given)
        for name in filter(is_native, applicable(operation, g)):
            assert_near(by(name, operation, g, *given), expected)


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(problems())
def test_a_kernel_gradient_that_no_core_keeps_is_the_same(built, problem):
    """Its rows are shared among the cores, and what they meet is brought together."""
    g, images, channels, features = problem
    given = arrays("kernel_gradient", g, images, channels, features)
    expected = by("xla", "kernel_gradient", g, *given)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patches, "OWN_BYTES", 0)
        for cores in (1, 2, 40):
            with on_machine(replace(named("avx512"), cores=cores)):
                assert_near(by("native_patches", "kernel_gradient", g, *given), expected)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize(("images", "channels", "features"), [(0, 4, 4), (2, 0, 4), (2, 4, 0)])
@pytest.mark.parametrize("operation", CORRELATIONS)
def test_of_nothing_loops_that_are_asked_for_give_way(
    built, operation, images, channels, features, groups
):
    g = replace(LAYER, groups=groups)
    given = arrays(operation, g, images, channels, features)
    expected = by("xla", operation, g, *given)
    for name in filter(is_native, applicable(operation, g)):
        np.testing.assert_array_equal(by(name, operation, g, *given), expected)


def test_each_loop_is_held_against_xla_when_it_is_built(built, monkeypatch):
    jax.clear_caches()  # or what was compiled before would ask for nothing
    asked, target = set(), library.target
    monkeypatch.setattr(library, "target", lambda *loop: asked.add(loop) or target(*loop))
    found = differences()
    rounded = {name for name, case in CASES.items() if case.rounded}
    assert set(found) | rounded == {*CASES, *POOLS}
    assert bool(rounded & set(found)) == library.pairs()
    of_pairs = {loop for loop in LOOPS if "pairs" in loop[0]}
    assert asked == {*LOOPS} - (set() if library.pairs() else of_pairs)
    assert {case.lowering for case in CASES.values()} == {
        *filter(is_native, lowering.algorithms.ALGORITHMS)
    }
    assert not wrong(found)
    exact = {name for name, case in CASES.items() if not (case.half or case.rounded)}
    assert all(found[name] < 2e-5 for name in exact), found


def test_a_loop_is_wrong_beyond_its_own_rounding():
    near = {"native_winograd of bfloat16": 2e-4, "native_winograd by products of bfloat16": 0.02}
    far = {"native_patches": 2e-4, "native_depthwise": float("nan"), "max_pool": 1e-7}
    assert wrong({**near, **far}).keys() == far.keys()


@st.composite
def pools_of_windows(draw):
    """Windows that overlap, touch, leave gaps or are dilated; large ones now and then."""
    rank = draw(st.integers(1, 2))

    def each(least, most):
        return tuple(draw(st.integers(least, most)) for _ in range(rank))

    window, strides = each(1, draw(st.sampled_from((4, 18)))), each(1, 5)
    dilation = draw(st.sampled_from(((1,) * rank, each(1, 2))))
    size = tuple(d * (k - 1) + 1 + n for d, k, n in zip(dilation, window, each(0, 20), strict=True))
    padding = tuple((k // 2, k // 3) for k in window)
    return Geometry(size, window, strides, padding, dilation), draw(st.sampled_from((1, 16, 37)))


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(pools_of_windows(), st.sampled_from((None, 0.0)))
def test_pools_agree_to_the_bit_with_those_without_loops(built, pool, floor):
    g, channels = pool
    rng = np.random.default_rng(0)
    # Whole numbers, many of them alike, and some that no comparison orders.
    x = rng.integers(-3, 4, (3, *g.size, channels)).astype(np.float32)
    x[rng.random(x.shape) < 0.2] = -np.inf
    x[rng.random(x.shape) < 0.01] = np.nan
    plain = "views" if g.taps <= 25 or max(g.dilation) > 1 else "doubling"
    with forced(max_pool=plain):
        expected, winner = jax.jit(partial(pools.max_pool, g, floor=floor))(x)
    with forced(max_pool="native"):
        y, found = jax.jit(partial(pools.max_pool, g, floor=floor))(x)
    np.testing.assert_array_equal(y, expected)
    ordered = ~np.isnan(np.asarray(y))
    np.testing.assert_array_equal(np.asarray(found)[ordered], np.asarray(winner)[ordered])
    dy = rng.integers(-3, 4, y.shape).astype(np.float32)
    with forced(scatter="placed"):
        back = jax.jit(partial(pools.scatter, g))(dy, winner)
    with forced(scatter="native"):
        np.testing.assert_array_equal(jax.jit(partial(pools.scatter, g))(dy, winner), back)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("floor", [None, 0.1])
def test_pools_of_half_precision_are_those_without_loops(built, dtype, floor):
    g = Geometry((24, 24), (6, 6), (6, 6), ((0, 0),) * 2, (1, 1))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 24, 24, 37)), dtype)
    x = x.at[:, :3].set(jnp.asarray(0.1, dtype))  # as the floor is when it is rounded

    def run(name):
        with forced(max_pool=name):
            return jax.jit(partial(pools.max_pool, g, floor=floor))(x)

    for found, expected in zip(run("native"), run("doubling"), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_large_pools_of_half_precision_are_computed_with_loops_by_choice(built):
    x = jnp.ones((64, 24, 24, 32), jnp.bfloat16)
    with on_machine(named("avx512")):
        pooled = jax.jit(lambda x: jax.vjp(lambda x: ops.relu_max_pool(x, 6), x)[1](x[:, :4, :4]))
        program = pooled.lower(x)
        (dx,) = pooled(x)
    assert "max_pool_uint8" in program.as_text()
    assert dx.dtype == jnp.bfloat16
    assert dx.astype(float).sum() == 64 * 4 * 4 * 32


def test_gradients_of_pools_under_vmap_and_on_a_mesh_are_the_same(built):
    x = jnp.asarray(np.random.default_rng(0).standard_normal((8, 11, 11, 24)), jnp.float32)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.device_put(x, jax.sharding.NamedSharding(mesh, jax.P("data")))

    def gradient(x):
        return jax.grad(lambda x: (ops.max_pool(x, 3, strides=2) ** 2).sum())(x)

    with allow_native(False):
        expected = jax.jit(gradient)(x)
    with forced(max_pool="native", scatter="native"):
        mapped = jax.jit(jax.vmap(gradient)).lower(x[:, None])
        assert "max_pool" in mapped.as_text()
        assert "scatter_uint8" in mapped.as_text()
        assert "while" not in mapped.as_text()  # one call, not one per example
        each = mapped.compile()(x[:, None])[:, 0]
        parts = jax.jit(gradient)(split)
    np.testing.assert_array_equal(each, expected)
    np.testing.assert_array_equal(parts, expected)


@pytest.mark.parametrize("operation", CORRELATIONS)
@pytest.mark.parametrize("window", building.WINDOWS)
def test_minimal_filtering_stays_within_its_bound(built, window, operation):
    g = Geometry((14, 13), (window, window), (1, 1), ((1, 2), (0, 1)), (1, 1))
    a, b = (np.asarray(m, np.float64) for m in arrays(operation, g, channels=40))
    with jax.enable_x64(True):
        exact = by("xla", operation, g, jnp.asarray(a), jnp.asarray(b))
    got = by(
        "native_winograd", operation, g, jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)
    )
    assert np.all(np.abs(got - np.asarray(exact)) <= winograd_bound(operation, g, a, b))


@pytest.mark.parametrize("name", ["native_winograd", "native_patches"])
@pytest.mark.parametrize("operation", CORRELATIONS)
def test_the_same_bits_whichever_thread_is_first(built, operation, name):
    given = arrays(operation, LAYER, images=16, channels=32, features=48)
    first, *others = (np.asarray(by(name, operation, LAYER, *given)) for _ in range(20))
    for other in others:
        np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize("name", ["native_winograd", "native_patches"])
def test_calls_from_more_threads_than_there_are_cores_all_end(built, name):
    """Those are not XLA's own, and leave work of this size to its threads, which are all busy."""
    given = arrays("correlate", LAYER, images=64, channels=64, features=64)
    with forced(name):
        call = jax.jit(partial(lowering.correlate, LAYER)).lower(*given).compile()
    expected = np.asarray(call(*given))
    with ThreadPoolExecutor(8) as callers:
        futures = [callers.submit(call, *given) for _ in range(200)]
        for future in futures:
            np.testing.assert_array_equal(future.result(timeout=60), expected)


@pytest.mark.parametrize("strides", [1, 3])
def test_cores_share_a_line_where_there_are_fewer_lines_than_cores(built, strides):
    g = Geometry((1003,), (5,), (strides,), ((2, 1),), (1,), groups=20)
    for operation in CORRELATIONS:
        given = arrays(operation, g, images=1, channels=20, features=20)
        expected = by("xla", operation, g, *given)
        for cores in (1, 7):
            with on_machine(replace(named("avx512"), cores=cores)):
                assert_near(by("native_depthwise", operation, g, *given), expected)
    pool = Geometry((700,), (60,), (2,), ((7, 0),), (1,))
    x = arrays("correlate", pool, images=1)[0]
    with allow_native(False):
        expected = y, winner = pools.max_pool(pool, x)
        back = pools.scatter(pool, jnp.round(4 * y), winner)
    with on_machine(replace(named("avx512"), cores=7)), forced(max_pool="native", scatter="native"):
        for got, wanted in zip(pools.max_pool(pool, x), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)
        np.testing.assert_array_equal(pools.scatter(pool, jnp.round(4 * y), winner), back)


def test_a_forward_pass_does_not_depend_on_the_number_of_cores(built):
    given = arrays("correlate", LAYER, images=16)
    results = []
    for cores in (1, 2, 5):
        with on_machine(replace(named("avx512"), cores=cores)):
            results.append(np.asarray(by("native_winograd", "correlate", LAYER, *given)))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize("sums", [1, 2_000_000])
@pytest.mark.parametrize("name", ["native_winograd", "native_patches"])
def test_many_cores_share_sums_that_are_too_large_for_each(built, monkeypatch, name, sums):
    for module in (calls, winograd):
        monkeypatch.setattr(module, "SUMS_BYTES", sums)
    given = arrays("kernel_gradient", LAYER, images=16, channels=40)
    expected = by("xla", "kernel_gradient", LAYER, *given)
    for cores in (1, 2, 3, 7, 40):
        with on_machine(replace(named("avx512"), cores=cores)):
            got = [by(name, "kernel_gradient", LAYER, *given) for _ in range(3)]
        assert_near(got[0], expected)
        np.testing.assert_array_equal(got[0], got[1])
        np.testing.assert_array_equal(got[0], got[2])


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("features", [36, 64])
def test_a_sum_of_patches_for_all_cores_does_not_depend_on_their_number(
    built, monkeypatch, groups, features
):
    monkeypatch.setattr(patches, "OWN_BYTES", 0)
    g = replace(LAYER, groups=groups)
    given = arrays("kernel_gradient", g, images=7, channels=40, features=features)
    results = []
    for cores in (1, 2, 5):
        with on_machine(replace(named("avx512"), cores=cores)):
            results.append(np.asarray(by("native_patches", "kernel_gradient", g, *given)))
    assert_near(results[0], by("xla", "kernel_gradient", g, *given))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize("precision", [None, "bfloat16"])
@pytest.mark.parametrize("groups", [1, 4])
def test_sums_that_all_cores_share_do_not_depend_on_their_number(
    built, monkeypatch, groups, precision
):
    for limit in ("SUMS_BYTES", "SHARED_BYTES", "ROOM_BYTES"):  # many blocks
        monkeypatch.setattr(winograd, limit, 1)
    g = replace(LAYER, groups=groups)
    given = arrays("kernel_gradient", g, images=21, channels=40, features=36)
    results = []
    for cores in (1, 2, 5):
        machine = replace(named("avx512"), cores=cores)
        with on_machine(machine), jax.default_matmul_precision(precision):
            results.append(np.asarray(by("native_winograd", "kernel_gradient", g, *given)))
    assert_near(results[0], by("xla", "kernel_gradient", g, *given), 2e-2 if precision else 3e-5)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_it_is_chosen_where_it_is_allowed_and_compiled_anew_where_it_is_not(built):
    call = jax.jit(lambda x, w: ops.correlate(x, w, padding=1))
    x, w = jnp.ones((64, 32, 32, 64)), jnp.ones((3, 3, 64, 64))

    def chosen():
        with noted() as notes:
            jax.block_until_ready(call.lower(x, w).compile())
        return [name for _, _, name in notes]

    with on_machine(named("avx512")):
        assert chosen() == ["native_winograd"]
        with allow_native(False):
            assert not any(map(is_native, chosen()))
        with jax.default_matmul_precision("highest"):
            assert chosen() != ["native_winograd"]
        with lowering.allow_winograd(False):
            assert chosen() == ["native_patches"]
    unknown = {"filtered": 0.0, "gathered": 0.0, "swept": 0.0, "tiled": 0.0}
    costs = dict(named("plain").costs) | unknown
    with on_machine(replace(named("plain"), costs=tuple(costs.items()))):  # of an older table
        assert not any(map(is_native, chosen()))


def test_loops_that_are_asked_for_by_name_are_left_out_where_they_are_not_allowed(built):
    x, w = arrays("correlate", LAYER)
    with forced("native_patches"), allow_native(False):
        assert "jcnn" not in jax.jit(partial(ops.correlate, padding=1)).lower(x, w).as_text()
    with forced(max_pool="native"):  # what stands in elsewhere has no view for each element
        program = jax.make_jaxpr(lambda x: ops.max_pool(x, 28))(jnp.ones((2, 56, 56, 4)))
    assert len(str(program)) < 20_000


def test_jcnn_native_0_does_without(built, monkeypatch):
    assert native.ready()
    monkeypatch.setenv("JCNN_NATIVE", "0")
    assert not native.ready()
    with allow_native(True):
        assert not lowering.Policy.current().native


@pytest.mark.parametrize(
    ("name", "strides"), [("native_winograd", 1), ("native_patches", 2), ("native_patches", (3, 1))]
)
def test_gradients_under_vmap_scan_and_remat_are_the_same(built, name, strides):
    x, w = arrays("correlate", LAYER, images=4)

    def loss(x, w):
        return (ops.correlate(x, w, padding=1, strides=strides) ** 2).sum()

    with allow_native(False):
        expected = jax.grad(loss, (0, 1))(x, w)
    with forced(name):
        whole = jax.jit(jax.grad(jax.checkpoint(loss), (0, 1)))(x, w)
        each = jax.jit(jax.vmap(jax.grad(loss, (0, 1)), (0, None)))(x[:, None], w)
        _, scanned = jax.lax.scan(lambda c, x: (c, jax.grad(loss, (0, 1))(x, w)), 0, x[:, None])
    for dx, dw in (whole, (each[0][:, 0], each[1].sum(0)), (scanned[0][:, 0], scanned[1].sum(0))):
        assert_near(dx, expected[0])
        assert_near(dw, expected[1])


def test_other_dtypes_take_the_lowering_that_it_stands_for(built):
    for dtype in (jnp.bfloat16, jnp.float64):
        with jax.enable_x64(dtype == jnp.float64):
            x, w = (a.astype(dtype) for a in arrays("correlate", LAYER))
            got = by("native_winograd", "correlate", LAYER, x, w)
            expected = by("winograd", "correlate", LAYER, x, w)
        assert got.dtype == dtype
        assert_near(got.astype(float), expected.astype(float), error=1e-2)


@pytest.mark.parametrize("groups", [1, 12])
def test_an_input_gradient_at_strides_leaves_what_it_was_given_as_it_is(built, groups):
    """Each part is written in place of what the parts before wrote, and of nothing else."""
    g = Geometry((9, 13), (4, 3), (2, 3), ((1, 2), (3, 0)), (1, 1), groups)
    dy, w = arrays("input_gradient", g, channels=12, features=12)
    before = np.array(dy), np.array(w)
    name = "native_patches" if groups == 1 else "native_depthwise"
    with forced(name), noted() as notes:
        got = [lowering.input_gradient(g, dy, w) for _ in range(2)]
    assert {each for _, _, each in notes} == {name}
    assert_near(got[0], by("xla", "input_gradient", g, dy, w))
    for one, other in ((got[0], got[1]), (before[0], dy), (before[1], w)):
        np.testing.assert_array_equal(one, other)


def test_devices_of_a_mesh_each_compute_their_part(built):
    x, w = arrays("correlate", LAYER, images=8)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.device_put(x, jax.sharding.NamedSharding(mesh, jax.P("data")))

    def gradients(x, w):
        return jax.grad(lambda x, w: (ops.correlate(x, w, padding=1) ** 2).sum(), (0, 1))(x, w)

    with forced("native_winograd"):
        expected, got = jax.jit(gradients)(x, w), jax.jit(gradients)(split, w)
    for one, other in zip(got, expected, strict=True):
        assert_near(one, other)


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("groups", [1, 2, 5])
@pytest.mark.parametrize("name", ["native_patches", "native_grouped"])
def test_inside_shard_map_loops_are_as_without(built, name, groups, strides):
    x, w = arrays("correlate", replace(LAYER, groups=groups), 8, channels=10, features=20)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))

    def loss(x, w):
        y = ops.correlate(x, w, padding=1, groups=groups, strides=strides)
        return (jax.vmap(lambda y: ops.max_pool(y[None], 6, strides=2))(y) ** 2).sum()

    specs = {"in_specs": (jax.P("data"), jax.P()), "out_specs": (jax.P("data"), jax.P())}
    gradients = jax.jit(jax.shard_map(jax.grad(loss, (0, 1)), mesh=mesh, **specs))
    with allow_native(False):
        expected = gradients(x, w)
    with forced(name, max_pool="native"):
        got = gradients(x, w)
    for one, other in zip(got, expected, strict=True):
        assert_near(one, other)


def test_what_others_may_write_is_not_loaded(built):
    if not hasattr(os, "getuid"):
        pytest.skip("this system has no owners of files")
    built.chmod(0o666)
    assert not native.ready()
    built.chmod(0o644)
    assert native.ready()


def test_a_library_is_of_its_sources_and_its_processor(monkeypatch):
    monkeypatch.setattr(building, "digest", building.digest.__wrapped__)
    first = building.digest()
    assert building.digest() == first
    monkeypatch.setattr(building.processor, "features", lambda: "another's")
    second = building.digest()
    assert second != first
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_max_isa=SSE4_2")
    monkeypatch.setattr(building.processor, "instructions", lambda: "SSE")
    assert building.digest() not in (first, second)


@pytest.mark.parametrize(
    ("compiler", "words"),
    [
        ("no-such-compiler", "'no-such-compiler', which there is not"),
        ("no compiler", "'no', which there is not"),
        ("'g++", "''g[+][+]', which there is not"),
        ("false", "can't be built: `false` ended with 1"),
        (" false  -m64 ", "can't be built: `false -m64` ended with 1"),
        ("true", "can't be built: `true` ended with 0 and wrote no library"),
        ("my tools/broken", "can't be built: `'my tools/broken'` can't be started"),
        ("'my tools/foreign' -m64", "ended with 3; CXX names .* It said: .xff Fehler"),
    ],
)
def test_what_cannot_be_built_is_said_and_leaves_nothing(tmp_path, monkeypatch, compiler, words):
    tools = tmp_path / "my tools"
    tools.mkdir()
    (tools / "broken").write_bytes(b"\x7fELF")
    (tools / "foreign").write_text("#!/bin/sh\nprintf '\\377 Fehler' >&2\nexit 3\n")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(building, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setenv("CXX", compiler)
    with pytest.raises(UserError, match=words):
        native.build()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert not library.ready()


def test_a_cxx_of_spaces_is_none(monkeypatch):
    monkeypatch.setenv("CXX", " ")
    assert building._compiler()[0].endswith(building.COMPILERS)


@pytest.mark.parametrize(
    ("kept", "words"), [(1.0, r"undefined symbol|not found"), (0.5, "it is cut off")]
)
def test_a_library_that_is_none_is_said_once_and_everything_goes_on(
    tmp_path, monkeypatch, kept, words
):
    if kept < 1 and sys.platform != "linux":
        pytest.skip("this system has other libraries")
    monkeypatch.setattr(building, "cache_folder", lambda: tmp_path)
    monkeypatch.setenv("JCNN_NATIVE", "1")
    monkeypatch.setattr(library, "digest", lambda: f"{kept} of it")
    path = native.library_path()
    path.parent.mkdir()
    (tmp_path / "nothing.c").write_text("int nothing;")
    command = ["c++", "-shared", "-fPIC", str(tmp_path / "nothing.c"), "-o", str(path)]
    subprocess.run(command, check=True)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    path.chmod(0o644)
    with pytest.warns(RuntimeWarning, match=words):
        assert not library.ready()
    with pytest.raises(UserError, match=r"can't be loaded .*--remove"):
        library.load()


def test_without_a_compiler_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(building, "cache_folder", lambda: tmp_path)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(building.shutil, "which", lambda name: None)
    monkeypatch.setattr(building.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="install your system's"):
        native.build()
