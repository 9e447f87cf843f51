"""Images split in space over devices: whole numbers, equal to those of one device."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest
from jax.extend.core import jaxprs_in_params
from jax.sharding import PartitionSpec as P

from jcnn import ops
from tests.ops.meshes import collectives, mesh_of
from tests.ops.split_images import (
    CASES,
    Parts,
    biased_by_position,
    gathered_whole,
    halos_exchanged,
    masks_across,
    of_kernel,
    statistics_across,
)
from tests.selection import slow_unless

pytestmark = pytest.mark.usefixtures("mathematics")

QUICK = ("same-strided", "valid-uneven", "transposed", "max-pool-padded")
CI = ("dilated-groups", "full-over-window", "beyond-the-neighbour", "transposed-circular",
      "relu-max-pool-ceil", "average-pool-counted", "square-pool", "decimate", "pad",
      "global-max-pool", "global-average-pool")  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        *slow_unless(QUICK.__contains__, (*QUICK, *CI), in_ci=True),
        *slow_unless(lambda _: False, sorted({*CASES} - {*QUICK, *CI})),
    ],
)
def test_rows_over_four_devices(name):
    Parts(ops, CASES[name], ("space",), space=4).check()


@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "untracked"])
@pytest.mark.parametrize("name", slow_unless(lambda _: False, CASES))
def test_rows_and_columns(name, tracked):
    Parts(ops, CASES[name], ("rows", "columns"), rows=2, columns=2).check(tracked)


@pytest.mark.parametrize("name", slow_unless("circular".__eq__, ("circular", "global-max-pool")))
def test_columns_alone_where_nothing_is_tracked(name):
    Parts(ops, CASES[name], (None, "columns"), columns=4).check(tracked=False)


def test_devices_send_their_neighbours_edges_and_nothing_else():
    """Two rows from each side, and back; and the kernel's gradient, once."""
    parts = Parts(ops, of_kernel("correlate", 5, 3, padding="SAME"), ("space",), space=4)
    program = jax.jit(parts.on_parts(True)).lower(parts.dy, parts.x, parts.w).compile()
    rows = 2 * 2 * parts.x.shape[2] * parts.x.shape[3]
    assert collectives(program) == [
        ("all-reduce", parts.w.size),
        *(("collective-permute", rows),) * 4,
    ]


@pytest.mark.parametrize("circular", [False, True])
def test_the_halo_exchange_and_its_adjoint(circular):
    assert halos_exchanged(ops, circular)


@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "untracked"])
def test_what_is_gathered_is_whole_for_what_follows(tracked):
    assert gathered_whole(ops, tracked)


def test_statistics_over_devices_are_those_of_the_whole_batch():
    assert statistics_across(ops)


def test_a_bias_per_position_is_split_as_its_image():
    assert biased_by_position(ops)


def parts_of(function, *arrays):
    """Trace a function of split images, of which four devices have a part each."""

    def part(*arrays):
        with ops.spatial.split_over("space"):
            return function(*arrays)

    split = P(None, "space")
    run = jax.shard_map(part, mesh=mesh_of(space=4), in_specs=split, out_specs=split)
    return jax.eval_shape(run, *arrays)


def test_masks_are_those_of_one_device():
    assert masks_across(ops)


def test_a_device_draws_the_masks_of_its_own_examples_alone():
    def sizes(jaxpr):
        for equation in jaxpr.eqns:
            yield from (variable.aval.size for variable in equation.outvars)
            for inner in jaxprs_in_params(equation.params):
                yield from sizes(inner)

    drop = partial(ops.dropout, drop_rate=0.5, spec=("data",))
    traced = jax.make_jaxpr(drop, axis_env=[("data", 512)])
    assert max(sizes(traced(jnp.zeros((4, 100)), jax.random.key(0)).jaxpr)) == 4 * 100


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
