"""Every operation under JAX's transformations gives the gradients it gives without them."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jcnn import ops, reference
from tests.cases import CASES as ALL_CASES
from tests.cases import representative
from tests.ops.meshes import collectives, mesh_of
from tests.ops.pullbacks import assert_close, cotangents, differentiable, pullback
from tests.selection import slow_unless
from tests.tolerances import tolerance

pytestmark = pytest.mark.usefixtures("x64", "mathematics")

EXACT = tolerance("float64")
FIRST = {case.op: case for case in reversed(representative())}
CASES = FIRST | {case.op: case for case in ALL_CASES if case.name in ("2d-valid", "2d-overlapping")}
EVERY_OP = pytest.mark.parametrize("op", sorted(CASES))
# with what is kept in each of its ways: arrays, a byte per window, statistics, a key, nothing
KINDS = ("average_pool", "batch_norm", "convolve", "dropout", "relu_max_pool")
SOME_OPS = pytest.mark.parametrize("op", slow_unless(KINDS.__contains__, sorted(CASES)))


def _quick(a):
    """Exchange a key for one whose random numbers take little time to compile."""
    is_key = jnp.issubdtype(a.dtype, jax.dtypes.prng_key)
    return jax.random.key(7, impl="unsafe_rbg") if is_key else a


class Examples:
    """Arguments of an operation, others like them, and its gradients for both, untransformed."""

    def __init__(self, op):
        self.function = CASES[op].function(ops)
        self.args = [_quick(a) for a in CASES[op].arguments()]
        self.free = differentiable(self.args)
        # mirrored, so that distributions and variances stay what they are
        self.others = [np.flip(a) if i in self.free else a for i, a in enumerate(self.args)]
        self.dy = cotangents(self.function, self.args)
        self.other_dy = jax.tree.map(np.flip, self.dy)
        self.pulled = pullback(self.function)
        self.plain = jax.jit(self.pulled)

    def stacked(self):
        """Both cotangents and both sets of arguments, along a new axis; labels and keys as are."""
        both = zip(self.args, self.others, strict=True)
        args = [np.stack(pair) if i in self.free else pair[0] for i, pair in enumerate(both)]
        return self.stacked_dy(), args

    def stacked_dy(self):
        return jax.tree.map(lambda *pair: np.stack(pair), self.dy, self.other_dy)

    @property
    def axes(self):
        return [0 if i in self.free else None for i in range(len(self.args))]

    @cache  # noqa: B019  one object an operation
    def expected(self, *, first_only):
        """Gradients for both sets of arguments; with ``first_only`` but the first one differs."""
        others = [self.others[0], *self.args[1:]] if first_only else self.others
        results = self.plain(self.dy, *self.args), self.plain(self.other_dy, *others)
        return jax.tree.map(np.asarray, results)


examples = cache(Examples)


def along_a_new_axis(*trees):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


@pytest.mark.parametrize("op", ["dense", "relu_max_pool", "softmax_cross_entropy"])
def test_without_jit(op):
    e = examples(op)
    assert_close(e.pulled(e.dy, *e.args), e.plain(e.dy, *e.args), **EXACT)


@EVERY_OP
def test_vmap_over_the_first_argument(op):
    """As over images with one kernel: the kernel's gradient is not summed but one per image."""
    e = examples(op)
    dy, (x, *_) = e.stacked()
    axes = (0, 0, *(None for _ in e.args[1:]))
    found = jax.jit(jax.vmap(e.pulled, axes))(dy, x, *e.args[1:])
    assert_close(found, along_a_new_axis(*e.expected(first_only=True)), **EXACT)


@pytest.mark.parametrize("op", [op for op in sorted(CASES) if len(CASES[op].draws) > 1])
def test_vmap_over_every_argument(op):
    e = examples(op)
    dy, args = e.stacked()
    found = jax.jit(jax.vmap(e.pulled, (0, *e.axes)))(dy, *args)
    assert_close(found, along_a_new_axis(*e.expected(first_only=False)), **EXACT)


@EVERY_OP
def test_gradient_through_a_scan(op):
    """What an operation keeps between its passes is stacked by the loop and handed back."""
    e = examples(op)

    def total(x, *rest):
        def step(carry, item):
            dy, x = item
            y = e.function(x, *rest)
            products = jax.tree.map(jnp.vdot, dy, y)
            return carry + sum(jax.tree.leaves(products)), None

        return lax.scan(step, jnp.zeros(()), (e.stacked_dy(), x))[0]

    _, (x, *_) = e.stacked()
    found = jax.jit(jax.grad(total, tuple(e.free)))(x, *e.args[1:])
    (_, one), (_, two) = e.expected(first_only=True)
    expected = np.stack([one[0], two[0]]), *map(np.add, one[1:], two[1:])
    assert_close(found, expected, **EXACT)


@SOME_OPS
def test_gradient_inside_a_loop(op):
    """As in a training step that is dispatched several at a time."""
    e = examples(op)
    dy, (x, *_) = e.stacked()

    def step(i, sums):
        here = jax.tree.map(lambda a: a[i], (jax.tree.map(jnp.asarray, dy), jnp.asarray(x)))
        return jax.tree.map(jnp.add, sums, e.pulled(*here, *e.args[1:]))

    def run():
        zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(e.pulled, e.dy, *e.args))
        return lax.fori_loop(0, 2, step, zeros)

    expected = jax.tree.map(np.add, *e.expected(first_only=True))
    assert_close(jax.jit(run)(), expected, **EXACT)


@SOME_OPS
def test_recomputed_forward_pass(op):
    e = examples(op)
    found = jax.jit(pullback(jax.checkpoint(e.function)))(e.dy, *e.args)
    assert_close(found, e.expected(first_only=True)[0], **EXACT)


# --- a mesh of two devices ------------------------------------------------------------------------

KINDS_OF_AXES = pytest.mark.parametrize(
    "kind", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"]
)

ROW_WISE = ("mean_squared_error", "binary_cross_entropy", "softmax_cross_entropy")
# these look at the whole batch, or draw for it: on its parts they are other functions
WHOLE_BATCH = ("batch_norm", "dropout")
SPLIT = sorted(set(CASES) - set(WHOLE_BATCH))


class TwoParts:
    """A batch of two parts, to be split over the devices; what is no batch is shared."""

    def __init__(self, op):
        e = examples(op)
        batched = {0, 1} if op in ROW_WISE else {0}
        both = zip(e.args, e.others, strict=True)
        self.pulled = e.pulled
        self.args = [np.concatenate(p) if i in batched else p[0] for i, p in enumerate(both)]
        self.dy = jax.tree.map(lambda *pair: np.concatenate(pair), e.dy, e.other_dy)
        self.specs = [P("data") if i in batched else P() for i in range(len(self.args))]
        self.in_specs = P("data"), *self.specs
        self.out_specs = P("data"), tuple(self.specs[i] for i in e.free)
        (y, one), (other_y, two) = e.expected(first_only=len(batched) == 1)
        self.expected = (
            jax.tree.map(lambda *pair: np.concatenate(pair), y, other_y),
            tuple(
                np.concatenate(pair) if i in batched else sum(pair)
                for i, pair in zip(e.free, zip(one, two, strict=True), strict=True)
            ),
        )


@pytest.mark.parametrize("op", SPLIT)
def test_shard_map_sums_the_gradients_of_what_is_shared(op):
    """Where ``shard_map`` tracks what varies, it adds the sum over the devices by itself."""
    two = TwoParts(op)
    sharded = jax.shard_map(
        two.pulled, mesh=mesh_of(data=2), in_specs=two.in_specs, out_specs=two.out_specs
    )
    assert_close(jax.jit(sharded)(two.dy, *two.args), two.expected, **EXACT)


@pytest.mark.parametrize("op", ["convolve", "dense", "prelu"])
def test_shard_map_with_an_explicit_sum(op):
    two = TwoParts(op)

    def summed(dy, *args):
        y, (dx, *rest) = two.pulled(dy, *args)
        return y, (dx, *(lax.psum(d, "data") for d in rest))

    sharded = jax.shard_map(
        summed,
        mesh=mesh_of(data=2),
        in_specs=two.in_specs,
        out_specs=two.out_specs,
        check_vma=False,
    )
    assert_close(jax.jit(sharded)(two.dy, *two.args), two.expected, **EXACT)


ON_MESHES = ("convolve", "pad", "relu_max_pool", "average_pool", "dense", "prelu",
             "softmax_cross_entropy", "convolve_transpose")  # fmt: skip
STEPS = ("signum", "unit_step")
POOLS = ("average_pool", "decimate", "global_average_pool", "global_max_pool", "max_pool",
         "relu_max_pool", "square_pool")  # fmt: skip


@KINDS_OF_AXES
@pytest.mark.parametrize("op", slow_unless(ON_MESHES.__contains__, SPLIT))
def test_jit_of_sharded_arrays(op, kind):
    """Each gradient lies where its argument does; what is shared has its gradient summed, once."""
    two, mesh = TwoParts(op), mesh_of(kind, data=2)
    places = [NamedSharding(mesh, spec) for spec in two.in_specs]
    dy, *args = map(jax.device_put, (two.dy, *two.args), places)
    program = jax.jit(two.pulled).lower(dy, *args).compile()
    found = program(dy, *args)
    assert_close(found, two.expected, **EXACT)
    shared = 0
    for gradient, spec in zip(found[1], two.out_specs[1], strict=True):
        # Zeros are nobody's.
        place = gradient.sharding
        assert place.is_equivalent_to(NamedSharding(mesh, spec), gradient.ndim) or op in STEPS
        shared += gradient.size if spec == P() else 0
    sent = collectives(program)
    assert {kind for kind, _ in sent} <= {"all-reduce"}
    # Two sums are all that the four gradients are made of.
    assert sum(count for _, count in sent) == shared // (2 if op == "batch_norm_inference" else 1)


def assert_split_as_whole(function, x, kind, spec):
    """Value and gradient of an array that is split over two devices are those of the whole."""
    run = jax.jit(jax.value_and_grad(lambda x: (function(x) ** 2).sum()))
    place = NamedSharding(mesh_of(kind, data=2), spec)
    found = run(jax.device_put(x, place))
    assert_close(found, run(x), **EXACT)
    if kind == AxisType.Explicit:
        assert found[1].sharding.is_equivalent_to(place, x.ndim)


@KINDS_OF_AXES
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_classes_that_are_split_over_devices(smoothing, kind):
    logits, labels = np.random.default_rng(0).standard_normal((3, 4)), np.array([0, 3, 2])
    loss = partial(ops.softmax_cross_entropy, labels=labels, label_smoothing=smoothing)
    assert_split_as_whole(loss, logits, kind, P(None, "data"))


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("op", POOLS)
def test_pools_of_images_whose_positions_are_split_over_devices(op, axis):
    """Of windows beside each other XLA computes a split gradient wrong, or not at all."""
    pool = getattr(ops, op)
    function = pool if op.startswith("global") else lambda x: pool(x, 2)
    x = np.random.default_rng(0).standard_normal((2, 6, 6, 3))
    assert_split_as_whole(function, x, AxisType.Explicit, P(*(None,) * axis, "data"))


@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "untracked"])
def test_statistics_over_devices_are_the_same_on_all_of_them(tracked):
    """So ``P()`` says where they are, and their cotangents count once."""
    rng, mesh = np.random.default_rng(0), mesh_of(data=4)
    x, scale = (rng.normal(size=s).astype(np.float32) for s in ((8, 3, 3, 4), (4,)))
    own = partial(ops.batch_norm, axis_name="data")
    places = {"in_specs": (P("data"), P(), P()), "out_specs": (P("data"), P(), P())}
    across = jax.shard_map(own, mesh=mesh, check_vma=tracked, **places)

    def loss(norm, x, scale):
        y, mean, variance = norm(x, scale, scale)
        return (y**3).sum() + (mean**2).sum() + (variance**3).sum()

    v = rng.normal(size=x.shape).astype(np.float32)

    def moved(norm, x):  # second order: how the gradient changes
        return jnp.vdot(jax.grad(partial(loss, norm))(x, scale), v)

    found, expected = (
        (jax.value_and_grad(partial(loss, f), (0, 1))(x, scale), jax.grad(partial(moved, f))(x))
        for f in (across, ops.batch_norm)
    )
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@KINDS_OF_AXES
def test_batch_norm_of_a_sharded_batch_is_that_of_the_whole(kind):
    e, mesh = examples("batch_norm"), mesh_of(kind, data=2)
    rows, whole = (NamedSharding(mesh, spec) for spec in (P("data"), P()))
    args = jax.device_put(e.args, [rows, whole, whole])
    dy = jax.device_put(e.dy, (rows, whole, whole))
    found = jax.jit(e.pulled)(dy, *args)
    assert_close(found, e.plain(e.dy, *e.args), **EXACT)
    assert found[1][0].sharding.is_equivalent_to(rows, found[1][0].ndim)


def test_forward_mode_is_what_the_reference_is_for():
    x, w = np.ones((1, 5, 1)), np.ones((2, 1, 1))
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(ops.correlate, (x, w), (x, w))
    y, dy = jax.jit(lambda *args: jax.jvp(reference.correlate, args, args))(x, w)
    assert_close(dy, 2 * y, **EXACT)
