"""Images on one device, and split in space over several: the cases, and whole numbers for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec as P

from tests.ops.meshes import mesh_of

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
    "transposed-full": of_kernel("convolve_transpose", 5, 3, padding=((0, 0), (1, 1))),
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


class Parts:
    """A case on one device, and on those of a mesh, each with its part."""

    def __init__(self, ops, case, names, **sizes):
        self.ops, self.case, self.names, self.mesh = ops, case, names, mesh_of(**sizes)
        channels = case.options.get("groups", 1) * case.kernel[-2] if case.kernel else 2
        self.x = whole_numbers(2, *case.size, channels)
        self.w = whole_numbers(*(case.kernel or ()), seed=1)
        y = jax.eval_shape(self.function, self.x, self.w)
        self.dy = whole_numbers(*y.shape, seed=2)
        self.split = P(None, *names)
        self.output = self.split if y.ndim == self.x.ndim else P()

    def function(self, x, w):
        kernel = (w,) if self.case.kernel else ()
        return getattr(self.ops, self.case.op)(x, *kernel, **self.case.options)

    def run(self, dy, x, w):
        y, pull = jax.vjp(self.function, x, w)
        return y, *pull(dy)

    def on_parts(self, tracked):
        def part(dy, x, w):
            with self.ops.spatial.split_over(*self.names):
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
        from jcnn.lowering import allow_winograd  # that of a mutant, where one is judged

        with allow_winograd(False):  # which rounds
            got = jax.jit(self.on_parts(tracked))(dy, self.x, self.w)
            expected = jax.jit(self.run)(self.dy, self.x, self.w)
        for a, b in zip(got, expected, strict=True):
            if self.case.exact:
                np.testing.assert_array_equal(a, b)
            else:
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def split_correctly(ops: Any, name: str) -> bool:
    """Rows over four devices, then rows and columns where nothing is tracked."""
    Parts(ops, CASES[name], ("space",), space=4).check()
    Parts(ops, CASES[name], ("rows", "columns"), rows=2, columns=2).check(tracked=False)
    return True


def halos_exchanged(ops: Any, circular: bool) -> bool:
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
    return around_nothing(ops, split, circular)


def around_nothing(ops: Any, split: P, circular: bool) -> bool:
    """Around parts without elements there are zeros alone, as many as are asked for."""
    around = partial(
        ops.halo_exchange, axis=1, mesh_axis="space", before=2, after=1, circular=circular
    )
    exchange = jax.shard_map(around, mesh=mesh_of(space=4), in_specs=split, out_specs=split)
    y, pull = jax.vjp(exchange, np.zeros((2, 0), np.float32))
    return np.array_equal(y, np.zeros((2, 12))) and pull(y)[0].shape == (2, 0)


def gathered_whole(ops: Any, tracked: bool) -> bool:
    """A kernel behind what is gathered is the same on all devices, and so is its gradient."""
    mesh, x, w = mesh_of(space=2), whole_numbers(2, 4, 3, 1), whole_numbers(3, 3, 1, 2, seed=1)

    def loss(x, w):
        y = ops.spatial.whole(ops.correlate(x, w, padding="SAME"))
        if tracked:  # known to be whole
            y = ops.correlate(y, w.repeat(2, 2), padding="SAME")
        return (y * y).sum()

    def on_parts(x, w):
        with ops.spatial.split_over("space"):
            return loss(x, w)

    specs = {"in_specs": (P(None, "space"), P()), "out_specs": P()}
    split = jax.shard_map(on_parts, mesh=mesh, check_vma=tracked, **specs)
    got, expected = (jax.jit(jax.value_and_grad(f, (0, 1)))(x, w) for f in (split, loss))
    jax.tree.map(np.testing.assert_array_equal, got, expected)
    return True


def biased_by_position(ops: Any) -> bool:
    """Each device adds the biases of its own positions."""
    x, w, b = whole_numbers(2, 8, 3, 1), whole_numbers(3, 3, 1, 2), whole_numbers(8, 3, 2, seed=1)

    def run(x, b):
        return ops.correlate(x, w, b, padding="SAME")

    def on_parts(x, b):
        with ops.spatial.split_over("space"):
            return run(x, b)

    rows = P(None, "space")
    split = jax.shard_map(
        on_parts, mesh=mesh_of(space=4), in_specs=(rows, P("space")), out_specs=rows
    )
    np.testing.assert_array_equal(jax.jit(split)(x, b), run(x, b))
    return True


def statistics_across(ops: Any) -> bool:
    """Batch normalisation of a batch's parts, a device each, is that of the whole."""
    parts, (scale, offset) = 4, np.array([[1.5, -2.0, 0.5], [1.0, 0.0, -1.0]], np.float32)
    x = 0.3 * whole_numbers(8, 5, 3) + np.array([4, -50, 0], np.float32)
    dy, dmean, dvariance = whole_numbers(8, 5, 3, seed=1), *whole_numbers(2, 3, seed=2)

    def run(how, x, dy, share):
        values, pull = jax.vjp(partial(ops.batch_norm, **how), x, scale, offset)
        return *values, *pull((dy, share * dmean, share * dvariance))

    def split(a):
        return a.reshape(parts, -1, *a.shape[1:])

    across = jax.vmap(partial(run, {"axis_name": "data"}, share=1 / parts), axis_name="data")
    y, mean, variance, dx, dscale, doffset = jax.jit(across)(split(x), split(dy))
    found = [
        y.reshape(x.shape), mean[0], variance[1], dx.reshape(x.shape), dscale.sum(0), doffset.sum(0)
    ]  # fmt: skip
    expected = jax.jit(partial(run, {}, share=1))(x, dy)
    v = whole_numbers(8, 5, 3, seed=3)

    def second(how, x, dy, v):
        def dx(x):
            return jax.vjp(lambda x: ops.batch_norm(x, scale, offset, **how)[0], x)[1](dy)[0]

        return jax.grad(lambda x: jnp.vdot(dx(x), v))(x)

    across = jax.vmap(partial(second, {"axis_name": "data"}), axis_name="data")
    found.append(jax.jit(across)(*map(split, (x, dy, v))).reshape(x.shape))
    for a, b in zip(found, (*expected, second({}, x, dy, v)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    none = ops.batch_norm(np.zeros((0, 4, 3), np.float32), scale, offset)
    return none[0].shape == (0, 4, 3) and not np.any(none[1])


def masks_across(ops: Any) -> bool:
    """Dropout of parts, a device each, keeps what dropout of the whole keeps; so does a scalar's.

    The parts are examples, or every third of each example's second axis.
    """
    x, key = whole_numbers(8, 3, 5) + 4, jax.random.key(3)
    whole, kept = ops.dropout(x, key, 0.5), jax.random.bernoulli(key, 0.5)
    for axis, parts in ((0, 4), (1, 3)):
        spec = (None,) * axis + ("parts",)
        part = partial(ops.dropout, drop_rate=0.5, spec=spec)
        split = jnp.stack(jnp.split(x, parts, axis))
        found = jax.vmap(part, in_axes=(0, None), axis_name="parts")(split, key)
        if not np.array_equal(jnp.concatenate([*found], axis), whole):
            return False
    return float(ops.dropout(jnp.float32(3), key, 0.5)) == (6 if kept else 0)
