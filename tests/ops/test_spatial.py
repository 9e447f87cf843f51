"""Images split in space over devices: whole numbers, equal to those of one device."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec as P

from jcnn import ops
from tests.ops.meshes import collectives, mesh_of
from tests.selection import slow_unless

pytestmark = pytest.mark.usefixtures("mathematics")

SIZE = (16, 8)


def whole_numbers(*shape, seed=0):
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """An operation on (2, *size, C) images; those of a window have a kernel (*window, C, 4)."""

    op: str
    kernel: tuple[int, ...] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    size: tuple[int, ...] = SIZE
    exact: bool = True


def of_kernel(op, *window, channels=2, size=SIZE, **options):
    return Case(op, (*window, channels, 4), options, size)


def pool(op, *, size=SIZE, exact=True, **options):
    return Case(op, None, options, size, exact)


CASES = {
    "correlate": of_kernel("correlate", 3, 3, padding="SAME"),
    "same-strided": of_kernel("convolve", 3, 3, padding="SAME", strides=2),
    "valid-uneven": of_kernel("convolve", 5, 5),
    "valid-strided": of_kernel("correlate", 6, 3, strides=(2, 1), size=(20, 8)),
    "dilated-groups": of_kernel(
        "convolve", 3, 3, channels=1, padding=((3, 1), (2, 2)), dilation=2, groups=2
    ),
    "full-over-window": of_kernel("correlate", 3, 1, padding=((6, 4), (0, 0)), strides=(3, 2)),
    "stride-over-window": of_kernel("correlate", 1, 2, strides=(4, 2)),
    "crop": of_kernel("convolve", 3, 3, padding=((-2, 4), (1, -1))),
    "circular": of_kernel("convolve", 4, 3, padding="CIRCULAR"),
    "beyond-the-neighbour": of_kernel("correlate", 9, 1, padding="SAME"),
    "bordered-width": of_kernel("convolve", 3, 3, padding=((1, 1), (-1, 1))),
    "transposed": of_kernel("convolve_transpose", 4, 4, strides=2, padding=1),
    "transposed-same": of_kernel("convolve_transpose", 3, 3, strides=2, padding="SAME"),
    "transposed-full": of_kernel("convolve_transpose", 5, 2),
    "transposed-circular": of_kernel("convolve_transpose", 3, 3, padding="CIRCULAR"),
    "max-pool": pool("max_pool", window=2),
    "max-pool-padded": pool("max_pool", window=3, strides=2, padding="SAME"),
    "relu-max-pool-ceil": pool(
        "relu_max_pool", window=3, strides=2, padding=((1, 0), (0, 0)), ceil_mode=True
    ),
    "average-pool": pool("average_pool", window=(2, 4), strides=(1, 2), padding=((1, 0), (1, 1))),
    "average-pool-counted": pool(
        "average_pool", window=4, strides=2, padding=1, count_include_pad=False, exact=False
    ),
    "square-pool": pool("square_pool", window=3, strides=1, padding=1),
    "decimate": pool("decimate", factor=(4, 1)),
    "pad": pool("pad", padding=((2, 6), (1, 1))),
    "pad-circular": pool("pad", padding=2, mode="circular"),
    "global-max-pool": pool("global_max_pool"),
    "global-average-pool": pool("global_average_pool"),
}
QUICK = ("same-strided", "valid-uneven", "transposed", "max-pool-padded")
CI = ("dilated-groups", "full-over-window", "beyond-the-neighbour", "transposed-circular",
      "relu-max-pool-ceil", "average-pool-counted", "square-pool", "decimate", "pad",
      "global-max-pool", "global-average-pool")  # fmt: skip


class Parts:
    """A case on one device, and on those of a mesh, each with its part."""

    def __init__(self, case, names, **sizes):
        self.case, self.names, self.mesh = case, names, mesh_of(**sizes)
        channels = case.options.get("groups", 1) * case.kernel[-2] if case.kernel else 2
        self.x = whole_numbers(2, *case.size, channels)
        self.w = whole_numbers(*(case.kernel or ()), seed=1)
        y = jax.eval_shape(self.function, self.x, self.w)
        self.dy = whole_numbers(*y.shape, seed=2)
        self.split = P(None, *names)
        self.output = self.split if y.ndim == self.x.ndim else P()

    def function(self, x, w):
        kernel = (w,) if self.case.kernel else ()
        return getattr(ops, self.case.op)(x, *kernel, **self.case.options)

    def run(self, dy, x, w):
        y, pull = jax.vjp(self.function, x, w)
        return y, *pull(dy)

    def on_parts(self, tracked):
        def part(dy, x, w):
            with ops.spatial.split_over(*self.names):
                y, pull = jax.vjp(self.function, x, w)
            dx, dw = pull(dy)  # needs no context
            names = tuple(name for name in self.names if name)
            return y, dx, dw if tracked else lax.psum(dw, names)

        return jax.shard_map(
            part,
            mesh=self.mesh,
            in_specs=(self.output, self.split, P()),
            out_specs=(self.output, self.split, P()),
            check_vma=tracked,
        )

    def check(self, tracked=True):
        dy = self.dy
        if not tracked and self.output == P():  # each device has its share of what is equal on all
            dy = dy / self.mesh.size
        got = jax.jit(self.on_parts(tracked))(dy, self.x, self.w)
        for a, b in zip(got, jax.jit(self.run)(self.dy, self.x, self.w), strict=True):
            if self.case.exact:
                np.testing.assert_array_equal(a, b)
            else:
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        *slow_unless(QUICK.__contains__, (*QUICK, *CI), in_ci=True),
        *slow_unless(lambda _: False, sorted({*CASES} - {*QUICK, *CI})),
    ],
)
def test_rows_over_four_devices(name):
    Parts(CASES[name], ("space",), space=4).check()


@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "untracked"])
@pytest.mark.parametrize("name", slow_unless(lambda _: False, CASES))
def test_rows_and_columns(name, tracked):
    Parts(CASES[name], ("rows", "columns"), rows=2, columns=2).check(tracked)


@pytest.mark.parametrize("name", slow_unless("circular".__eq__, ("circular", "global-max-pool")))
def test_columns_alone_where_nothing_is_tracked(name):
    Parts(CASES[name], (None, "columns"), columns=4).check(tracked=False)


def test_devices_send_their_neighbours_edges_and_nothing_else():
    """Two rows from each side, and back; and the kernel's gradient, once."""
    parts = Parts(of_kernel("correlate", 5, 3, padding="SAME"), ("space",), space=4)
    program = jax.jit(parts.on_parts(True)).lower(parts.dy, parts.x, parts.w).compile()
    rows = 2 * 2 * parts.x.shape[2] * parts.x.shape[3]
    assert collectives(program) == [
        ("all-reduce", parts.w.size),
        *(("collective-permute", rows),) * 4,
    ]


@pytest.mark.parametrize("circular", [False, True])
def test_the_halo_exchange_and_its_adjoint(circular):
    """What each device has is a run of the whole; its adjoint adds each run where it was taken."""
    mesh, edges, n = mesh_of(space=4), [(0, 0), (2, 1), (0, 3), (5, 0), (7, 10)], 3
    x = whole_numbers(2, 4 * n)
    padded = np.pad(x, [(0, 0), (24, 24)], mode="wrap" if circular else "constant")
    places = np.pad(np.arange(4 * n), 24, mode="wrap" if circular else "constant")
    inside = np.ones(len(places)) if circular else (np.abs(np.arange(60) - 29.5) < 2 * n)

    def run(x, *dy):
        exchange = [
            partial(ops.halo_exchange, axis=-1, mesh_axis="space", circular=circular,
                    before=before, after=after)
            for before, after in edges
        ]  # fmt: skip
        pulled = [jax.vjp(f, x) for f in exchange]
        again = [
            jax.vjp(lambda dy, pull=pull: pull(dy)[0], d)[1](x)[0]
            for (_, pull), d in zip(pulled, dy, strict=True)
        ]
        return (
            [y for y, _ in pulled],
            [p(d)[0] for (_, p), d in zip(pulled, dy, strict=True)],
            again,
        )

    dys = [whole_numbers(2, 4 * (n + before + after), seed=3) for before, after in edges]
    split = P(None, "space")
    run = jax.shard_map(run, mesh=mesh, in_specs=(split,) * 6, out_specs=split)
    values, gradients, again = jax.jit(run)(x, *dys)
    for (before, after), y, dx, second, dy in zip(
        edges, values, gradients, again, dys, strict=True
    ):
        starts = [24 + n * i - before for i in range(4)]
        runs = [range(start, start + before + n + after) for start in starts]
        np.testing.assert_array_equal(y, np.concatenate([padded[:, r] for r in runs], 1))
        np.testing.assert_array_equal(second, y)  # the adjoint's own gradient
        expected = np.zeros_like(x)
        for copies, r in zip(np.split(dy, 4, 1), runs, strict=True):
            np.add.at(expected, (slice(None), places[r]), copies * inside[r])
        np.testing.assert_array_equal(dx, expected)


def test_what_is_gathered_is_whole_for_what_follows():
    """A kernel behind it is the same on all devices, and so is its gradient."""
    mesh, x, w = mesh_of(space=2), whole_numbers(2, 4, 3, 1), whole_numbers(3, 3, 1, 2, seed=1)

    def loss(x, w):
        y = ops.spatial.whole(ops.correlate(x, w, padding="SAME"))
        return (ops.correlate(y, w.repeat(2, 2), padding="SAME") ** 2).sum()

    def on_parts(x, w):
        with ops.spatial.split_over("space"):
            return loss(x, w)

    split = jax.shard_map(on_parts, mesh=mesh, in_specs=(P(None, "space"), P()), out_specs=P())
    got, expected = (jax.jit(jax.grad(f, (0, 1)))(x, w) for f in (split, loss))
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def parts_of(function, *arrays):
    """Trace a function of split images, of which four devices have a part each."""

    def part(*arrays):
        with ops.spatial.split_over("space"):
            return function(*arrays)

    split = P(None, "space")
    run = jax.shard_map(part, mesh=mesh_of(space=4), in_specs=split, out_specs=split)
    return jax.eval_shape(run, *arrays)


X = jnp.zeros((1, 16, 4, 2))


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (
            lambda x: ops.max_pool(x, 3, strides=1),
            "max_pool: the 4 devices of mesh axis 'space' must divide the output's axis 1 that is "
            "split over them, found 14 elements",
        ),
        (
            lambda x: ops.correlate(x, jnp.zeros((3, 3, 2, 1)), padding="REFLECT"),
            "correlate: padding REFLECT goes with whole axes, found axis 1 split over 'space'",
        ),
        (
            lambda x: ops.halo_exchange(x, 1, "sapce", 1, 1),
            "halo_exchange: mesh_axis must be one of the mesh that jax.shard_map is over, "
            "found 'sapce'",
        ),
        (
            lambda x: ops.halo_exchange(x, 1, "space", -1, 1),
            "halo_exchange: before must be at least 0, found -1",
        ),
        (
            lambda x: ops.halo_exchange(x, 4, "space", 1, 1),
            "halo_exchange: axis must be one of x's 4 axes, found 4",
        ),
    ],
    ids=["output", "reflect", "mesh-axis", "negative", "axis"],
)
def test_what_cannot_be_split_is_refused(function, said):
    with pytest.raises(ValueError) as error:  # noqa: PT011  the whole sentence is compared
        parts_of(function, X)
    assert str(error.value) == said


def test_a_bias_per_position_is_split_as_its_image():
    w, b = jnp.zeros((3, 3, 2, 1)), jnp.zeros((1, 16, 4, 1))
    y = parts_of(lambda x, b: ops.correlate(x, w, b[0], padding="SAME"), X, b)
    assert y.shape == (1, 16, 4, 1)
