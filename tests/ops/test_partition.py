"""What devices send each other, read from the compiled program: what the mathematics needs."""

from functools import cache
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jcnn import ops, reference
from jcnn.lowering import forced
from jcnn.lowering.policy import NAMES
from tests.ops.meshes import collectives, mesh_of, placed
from tests.selection import slow_unless

N, H, W, C, D = 8, 8, 6, 4, 8


def case(window, groups=1, op="convolve", channels=C, **options):
    return op, (*window, channels // groups, D), {"padding": "SAME", "groups": groups, **options}


CASES = {
    "3x3": case((3, 3)),
    "stride 2": case((3, 3), strides=2),
    "1x1": case((1, 1), op="correlate"),
    "dilated": case((3, 2), dilation=2, op="correlate"),
    "depthwise": case((3, 3), groups=8, channels=8),
    "two groups": case((3, 3), groups=2),
    "transposed": case((4, 4), op="convolve_transpose", strides=2),
}
SPLITS = {"data": ("data", None), "features": (None, "model"), "both": ("data", "model")}


class Problem:
    """An operation and its gradients in whole numbers, on one device and on four."""

    def __init__(self, name):
        self.op, shape, self.options = CASES[name]
        self.groups = self.options["groups"]
        channels = 8 if name == "depthwise" else C
        generator = np.random.default_rng(0)
        self.x, self.w = (
            generator.integers(-3, 4, s).astype(np.float32) for s in ((N, H, W, channels), shape)
        )
        y = jax.eval_shape(self.function, self.x, self.w)
        self.dy = generator.integers(-3, 4, y.shape).astype(np.float32)

    def function(self, x, w):
        return getattr(ops, self.op)(x, w, **self.options)

    def run(self, x, w, dy):
        y, pull = jax.vjp(self.function, x, w)
        return y, *pull(dy)

    @cache  # noqa: B019  few, and shared by the tests
    def expected(self):
        with forced("xla"):
            return [np.asarray(a) for a in jax.jit(self.run)(self.x, self.w, self.dy)]

    def sent(self, split):
        """A sum of the kernel's gradient over the images, of dx over the features."""
        data, model = (1 if axis is None else 2 for axis in split)
        sums = []
        if data > 1:
            sums.append(self.w.size // model)
        if model > 1 and self.groups == 1:
            sums.append(self.x.size // data)
        return sorted(("all-reduce", n) for n in sums)

    def specs(self, split):
        data, model = split
        groups = model if self.groups > 1 else None
        return [P(data, None, None, groups), P(None, None, None, model), P(data, None, None, model)]


problem = cache(Problem)


def check(name, split, kind=AxisType.Auto, lowering=None):
    found, mesh = problem(name), mesh_of(kind, data=2, model=2)
    arrays = placed(mesh, (found.x, found.w, found.dy), found.specs(SPLITS[split]))
    with forced(lowering):
        program = jax.jit(lambda *arrays: found.run(*arrays)).lower(*arrays).compile()
    x, w, dy = arrays
    for got, expected, like in zip(program(*arrays), found.expected(), (dy, x, w), strict=True):
        # Minimal filtering rounds; all else adds whole numbers.
        rounds = lowering is not None and lowering.endswith("winograd")
        rounded = 5e-6 * np.abs(expected).max() if rounds else 0
        np.testing.assert_allclose(got, expected, rtol=0, atol=rounded)
        assert got.sharding.is_equivalent_to(like.sharding, got.ndim)
    assert collectives(program) == found.sent(SPLITS[split])


@pytest.mark.parametrize(
    ("channels", "groups", "split"), [(6, 6, "kernel"), (12, 3, "image"), (12, 3, "kernel")]
)
def test_groups_that_the_devices_do_not_divide_stay_together(channels, groups, split):
    rng, mesh = np.random.default_rng(0), mesh_of(model=4)
    x = rng.integers(-3, 4, (2, 8, 8, channels)).astype(np.float32)
    w = rng.integers(-3, 4, (3, 3, channels // groups, 12)).astype(np.float32)
    run = jax.jit(lambda x, w: jax.value_and_grad(
        lambda *args: (ops.correlate(*args, groups=groups) ** 2).sum(), (0, 1))(x, w))  # fmt: skip
    along = NamedSharding(mesh, P(None, None, None, "model"))
    with forced("xla"):
        expected = run(x, w)
        if split == "image":
            found = run(jax.device_put(x, along), w)
        else:
            found = run(x, jax.device_put(w, along))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "problem_and_split",
    slow_unless(
        [("3x3", "data"), ("3x3", "both"), ("depthwise", "both")].__contains__,
        list(product(CASES, SPLITS)),
        "-".join,
    ),
)
def test_devices_send_each_other_the_sums_over_them_and_nothing_else(problem_and_split):
    check(*problem_and_split)


@pytest.mark.parametrize("split", slow_unless("both".__eq__, SPLITS))
@pytest.mark.parametrize("name", slow_unless("stride 2".__eq__, CASES))
def test_explicit_axes(name, split):
    check(name, split, AxisType.Explicit)


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("lowering", NAMES)
@pytest.mark.parametrize("name", slow_unless("3x3".__eq__, CASES, in_ci=False))
def test_every_lowering(name, lowering):
    check(name, "both", lowering=lowering)


def test_channels_that_are_split_are_summed_over():
    """As behind a layer whose features are split; the kernel's own channels lie with them."""
    found, mesh = problem("1x1"), mesh_of(model=4)
    x, w = placed(mesh, (found.x, found.w), [P(None, None, None, "model"), P(None, None, "model")])
    program = jax.jit(found.function).lower(x, w).compile()
    np.testing.assert_array_equal(program(x, w), found.expected()[0])
    assert collectives(program) == [("all-reduce", found.dy.size)]


def test_a_batch_that_the_devices_do_not_divide():
    """Where it is an intermediate array, the compiler splits it all the same."""
    found, mesh = problem("1x1"), mesh_of(data=4)
    (x,) = placed(mesh, [found.x], [P("data")])
    y = jax.jit(lambda x, w: found.function(x[:6], w))(x, found.w)
    np.testing.assert_array_equal(y, found.expected()[0][:6])


def test_an_operation_called_by_itself():
    found, mesh = problem("stride 2"), mesh_of(data=4)
    (x,) = placed(mesh, [found.x], [P("data")])
    y = found.function(x, found.w)
    np.testing.assert_array_equal(y, found.expected()[0])
    assert y.sharding.spec == P("data")


@pytest.mark.slow
def test_vmap_scan_and_second_order_on_a_mesh():
    found, mesh = problem("depthwise"), mesh_of(data=4)

    def both(xs, w):
        return lax.scan(lambda total, x: (total + found.function(x, w), None), 0 * found.dy, xs)[0]

    def second(xs, w):
        inner = jax.grad(lambda xs, w: (both(xs, w) ** 2).sum(), 1)
        mapped = jax.vmap(lambda x: found.function(x, w).sum((1, 2, 3)))(xs)
        return jax.grad(lambda xs: (inner(xs, w) * w).sum())(xs), mapped

    xs = np.stack([found.x, found.x[::-1]])
    sharded, w = placed(mesh, (xs, found.w), [P(None, "data"), P()])
    got = jax.jit(second)(sharded, w)
    for a, b in zip(got, jax.jit(second)(xs, found.w), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_an_export_for_several_devices_calls_nothing():
    found, mesh = problem("1x1"), mesh_of(data=2)
    (x,) = placed(mesh, [found.x], [P("data")])
    exported = export.export(jax.jit(found.function))(x, found.w)
    assert "CustomSPMDPartitioning" not in exported.mlir_module()


def test_programs_differ_where_their_windows_do():
    """What the compilation cache knows them by: a callback's address says nothing."""
    found, mesh = problem("1x1"), mesh_of(data=2)
    (x,) = placed(mesh, [found.x], [P("data")])
    w = jnp.zeros((3, 1, C, D), jnp.float32)

    def text(**options):
        return jax.jit(lambda x, w: ops.correlate(x, w, **options)).lower(x, w).as_text()

    for padding in ((1, 1), (2, 0)):
        assert f"padding=({padding}, (0, 0))" in text(padding=(padding, 0))


FEATURES = P(None, None, None, "model")
PER_CHANNEL = {
    "dense": lambda ops, x, b: ops.dense(x[:, 0, 0], x[0, 0], b),
    "prelu": lambda ops, x, b: ops.prelu(x, b),
    "batch_norm": lambda ops, x, b: ops.batch_norm(x, b, b)[0],
    "batch_norm_inference": lambda ops, x, b: ops.batch_norm_inference(x, b, b, b, b),
    "local_response_norm": lambda ops, x, b: ops.local_response_norm(x) * b,
}


@pytest.mark.parametrize("compiled", [False, True], ids=["one-by-one", "compiled"])
@pytest.mark.parametrize("op", PER_CHANNEL)
def test_what_all_devices_share_has_a_gradient_that_they_share(op, compiled):
    """Of features that are split, on a mesh whose axes are explicit: as the derived one has."""
    x = np.random.default_rng(0).standard_normal((2, 4, 8, 8)).astype(np.float32)
    mesh = mesh_of(AxisType.Explicit, model=4)

    def gradient(namespace, x):
        loss = jax.grad(lambda b: (PER_CHANNEL[op](namespace, x, b) ** 2).sum())
        return (jax.jit(loss) if compiled else loss)(jnp.full(8, 0.5))

    expected = gradient(reference, x)
    with jax.set_mesh(mesh):
        found = gradient(ops, placed(mesh, [x], [FEATURES])[0])
    assert found.sharding.spec in (P(), P(None))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("compiled", [False, True], ids=["one-by-one", "compiled"])
def test_the_largest_of_all_lies_where_its_example_does(compiled):
    x = np.random.default_rng(0).standard_normal((4, 6, 6, 4)).astype(np.float32)
    mesh = mesh_of(AxisType.Explicit, data=4)
    pool = jax.value_and_grad(lambda x: (ops.global_max_pool(x) ** 2).sum())
    pool = jax.jit(pool) if compiled else pool
    expected = pool(x)
    with jax.set_mesh(mesh):
        (split,) = placed(mesh, [x], [P("data")])
        found = pool(split)
        assert jax.typeof(ops.global_max_pool(split)).sharding.spec == P("data", None)
    assert jax.typeof(found[1]).sharding.spec == jax.typeof(split).sharding.spec
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
