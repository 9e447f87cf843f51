"""One program on any mesh: the same examples, masks and sums on one device and on many."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import partial
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from jcnn import ops, reference
from jcnn.errors import UserError
from jcnn.optimizers import optimizers
from jcnn.runs import Run
from jcnn.runs.checkpoints import Checkpoints
from jcnn.training import Step, prepare, train
from jcnn.training.mesh import layout_of
from jcnn.training.state import Totals
from jcnn.training.step import checkpointed
from jcnn.views import View
from tests.torture.processes import free_port
from tests.training import many_devices

TWO: dict[str, object] = {"mesh": {"data": 2}}


@pytest.mark.slow
def test_two_devices_learn_what_one_learns(lively, whole, tmp_path):
    train(lively(TWO), tmp_path / "run")
    rows = zip(Run(tmp_path / "run").metrics(), Run(whole).metrics(), strict=True)
    for ours, theirs in rows:
        assert ours["accuracy"] == pytest.approx(theirs["accuracy"], abs=0.005)
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-5)


def restored(run, experiment):
    """The state of a run's newest checkpoint, placed as an experiment's mesh says."""
    layout = layout_of(experiment)
    with Checkpoints(run / "checkpoints", read_only=True) as checkpoints:
        like = checkpointed(Step(experiment, layout=layout))
        return layout.place(checkpoints.restore(checkpoints.newest(), like))["state"]


@pytest.mark.slow
def test_what_two_devices_saved_one_reads_bit_for_bit_and_goes_on(lively, tmp_path):
    train(lively({"training.epochs": 1, **TWO}), tmp_path / "run")
    on_one, on_two = (restored(tmp_path / "run", lively(mesh)) for mesh in ({}, TWO))
    for one, two in zip(jax.tree.leaves(on_one), jax.tree.leaves(on_two), strict=True):
        assert (len(one.sharding.device_set), len(two.sharding.device_set)) == (1, 2)
        assert np.array_equal(np.asarray(one), np.asarray(two))
    assert train(lively({"training.epochs": 2}), tmp_path / "run", resume=True)["steps"] == 18


def all_reduces(text: str) -> list[int]:
    """Bytes of each all-reduce of a compiled program."""
    found = re.findall(r"= (\(?[^=]*?\)?) all-reduce(?:-start)?\(", text)
    sizes = {"f32": 4, "s32": 4, "f64": 8}
    arrays = [re.findall(r"(f32|s32|f64)\[([\d,]*)\]", each) for each in found]
    return [
        sum(sizes[kind] * prod(int(n) for n in shape.split(",") if n) for kind, shape in one)
        for one in arrays
    ]


def test_gradients_are_summed_in_one_all_reduce_of_the_parameters_bytes(tiny):
    experiment = tiny(TWO)
    feed, _ = prepare(experiment)
    like = checkpointed(feed.step)
    feed.compile(like["state"], like["totals"])
    text = feed._program.as_text()  # pyright: ignore[reportAttributeAccessIssue]
    sums = len(jax.tree.leaves(jax.eval_shape(Totals.zero)))
    parameters = sum(a.size for a in jax.tree.leaves(like["state"].params))
    assert all_reduces(text) == [4 * (parameters + sums)]
    for other in ("all-gather", "all-to-all", "collective-permute", "reduce-scatter"):
        assert f" {other}(" not in text


@pytest.mark.slow
@pytest.mark.parametrize("namespace", [ops, reference], ids=["ops", "reference"])
def test_statistics_and_masks_are_the_whole_batchs(namespace, x64):
    """Values and gradients on two devices, each with half of the batch, are those on one."""
    draw = np.random.default_rng(0)
    x = draw.normal(100, 1, (6, 3, 4))
    scale, offset, weights = draw.normal(size=4), draw.normal(size=4), draw.normal(size=x.shape)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))

    def loss(x, scale, offset, weights, split):
        how = {"axis_name": "data"} if split else {}
        y, mean, variance = namespace.batch_norm(x, scale, offset, **how)
        dropped = namespace.dropout(
            y, jax.random.key(0), 0.5, **({"spec": ("data",)} if split else {})
        )
        share = 0.5 if split else 1.0  # what is the same on both devices counts once
        return (dropped * weights).sum() + share * (mean.sum() + (variance**2).sum())

    def on_each(*arrays):
        value, gradients = jax.value_and_grad(loss, (0, 1, 2))(*arrays, True)
        return jax.lax.psum(value, "data"), (gradients[0], *jax.lax.psum(gradients[1:], "data"))

    specs = (P("data"), P(), P(), P("data"))
    sharded = jax.shard_map(
        on_each, mesh=mesh, in_specs=specs, out_specs=(P(), specs[:3]), check_vma=False
    )
    found = jax.jit(sharded)(x, scale, offset, weights)
    alone = jax.jit(partial(jax.value_and_grad(loss, (0, 1, 2)), split=False))
    expected = alone(x, scale, offset, weights)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("mesh", "message"),
    [
        ({"data": 3}, "mesh is data 3, and there are {} devices"),
        ({"data": 8, "model": 2}, "mesh is data 8 x model 2, and there are {} devices"),
        ({"model": 2}, "no two dense layers follow each other"),
    ],
    ids=["data", "product", "layers"],
)
def test_a_mesh_that_does_not_fit_is_said_in_a_sentence(mesh, message, tiny, tmp_path):
    with pytest.raises(UserError, match=message.format(jax.device_count())):
        train(tiny({"mesh": mesh}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_batch_that_the_mesh_does_not_divide_is_refused(tiny, tmp_path):
    with pytest.raises(
        UserError, match=r"batch_size is 33, .* expected a multiple of 2, such as 32"
    ):
        train(tiny({"mesh.data": 2, "training.batch_size": 33}), tmp_path / "run")


def test_two_axes_can_not_both_be_the_rest(tiny):
    with pytest.raises(UserError, match=r"mesh: expected -1 for one of its keys, found it for"):
        tiny({"mesh": {"data": -1, "model": -1}})


@pytest.fixture(scope="module")
def on_one_device():
    return many_devices.losses(many_devices.experiment(), 3)


@pytest.mark.slow
@pytest.mark.parametrize("axis", ["model", "space"])
def test_dense_layers_and_images_are_split_over_two_devices(axis, on_one_device):
    """Dense layers by columns, then rows; rows of images; the clipped norm is that of all."""
    losses = many_devices.losses(many_devices.experiment({"data": 1, axis: 2}), 3)
    assert losses == pytest.approx(on_one_device, abs=1e-5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"data.name": "digits"}, "the first layer needs whole images"),
        (
            {"layers": [{"type": "conv", "features": 2, "window": 4}, *many_devices.LAYERS[3:]]},
            r"output of layer 'conv_1' \(conv\) is 5x5x2: expected a first axis that 2 divides",
        ),
    ],
    ids=["flat", "rows"],
)
def test_images_that_can_not_be_split_in_space_are_refused(overrides, message, tiny):
    with pytest.raises(UserError, match=message):
        layout_of(tiny({"mesh": {"data": 1, "space": 2}, **overrides}))


WARNED_OF = ("noisy_sgd", "optimistic_adam")  # by Optax, which is an error in tests


@pytest.mark.parametrize("name", [name for name in optimizers() if name not in WARNED_OF])
def test_whatever_an_optimizer_keeps_lies_on_a_mesh(name):
    """It has other shapes than the parameters that it is of: of one element, of an odd rank."""
    optimizer = {"name": name, "learning_rate": 0.01, **({"rank": 3} if name == "galore" else {})}
    layout = layout_of(ex := many_devices.experiment({"data": 1, "model": 2}, optimizer=optimizer))
    state = layout.shaped(jax.eval_shape(Step(ex, layout=layout).init))
    for leaf in jax.tree.leaves(state):
        leaf.sharding.shard_shape(leaf.shape)
    split = [a for a in jax.tree.leaves(state.params) if a.sharding.spec != P()]
    assert len(split) == 3  # the first layer's weights and biases, the second one's weights


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer", [{"name": "adafactor"}, {"name": "galore", "rank": 3}], ids=str
)
def test_an_optimizer_whose_state_has_other_shapes_learns_on_a_mesh(optimizer):
    one, two = (
        many_devices.losses(
            many_devices.experiment(mesh, optimizer={"learning_rate": 0.01, **optimizer}), 3
        )
        for mesh in (None, {"data": 1, "model": 2})
    )
    assert two == pytest.approx(one, abs=1e-5)


CONV = {"type": "conv", "features": 4, "window": 3, "padding": "SAME"}
FILLED = {
    **{
        f"pad {mode}": [{"type": "pad", "padding": 2, "mode": mode}, CONV]
        for mode in ("circular", "reflect", "replicate")
    },
    **{
        f"conv {fill}": [{**CONV, "padding": fill}] for fill in ("CIRCULAR", "REFLECT", "REPLICATE")
    },
    "pool REFLECT": [
        {"type": "average_pool", "window": 3, "strides": 1, "padding": "REFLECT"},
        CONV,
    ],
    "residual REFLECT": [CONV, {"type": "residual", "layers": [{**CONV, "padding": "REFLECT"}]}],
}


@pytest.mark.parametrize("layers", FILLED.values(), ids=FILLED)
def test_what_is_filled_with_images_edges_is_not_split_in_space(layers, tiny, request):
    """Else it is traced: no layer is refused there, when a run's folder has been made."""
    whole = [{"type": "flatten"}, {"type": "dense", "features": 10}]
    experiment = tiny({"mesh": {"data": 1, "space": 2}, "layers": [*layers, *whole]})
    if "circular" not in request.node.callspec.id.lower():
        said = r"mesh\.space is 2, and layer '\w+' \(\w+\) has (padding|mode) = \"(?i:refl|repl)"
        with pytest.raises(UserError, match=said):
            layout_of(experiment)
        return
    layout = layout_of(experiment)
    step = Step(experiment, layout=layout)
    shapes = layout.shaped(jax.eval_shape(step.init)), *layout.shaped_batch((32, 8, 8, 1))
    jax.eval_shape(step, *shapes, jax.eval_shape(jax.random.key, 0))


@pytest.mark.parametrize(
    "view", [View(2, 1), View(-1, mirrored=True), View(0, -2), View(mirrored=True)], ids=str
)
def test_the_views_of_images_that_are_split_in_space_are_those_of_whole_ones(view):
    mesh = jax.make_mesh((4,), ("space",), axis_types=(AxisType.Auto,))
    x = np.random.default_rng(0).normal(size=(2, 8, 6, 3)).astype(np.float32)
    rows = P(None, "space")
    split = jax.shard_map(lambda x: view.of(x, "space"), mesh=mesh, in_specs=rows, out_specs=rows)
    np.testing.assert_array_equal(split(x), view.of(jnp.asarray(x)))


def losses_of_200_steps(meshes, dtype, processes=1):
    """What each process says, a list of losses per mesh."""
    address, started = f"127.0.0.1:{free_port()}", []
    for index in range(processes):
        asked = {"meshes": meshes, "steps": 200, "dtype": dtype}
        if processes > 1:
            where = {"coordinator_address": address, "num_processes": processes}
            asked["cluster"] = {**where, "process_id": index}
        command = [sys.executable, many_devices.__file__, json.dumps(asked)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    said = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0] * processes
    return [json.loads(text.splitlines()[-1]) for text in said]


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-10)])
def test_losses_of_200_steps_are_the_same_on_any_mesh(dtype, tolerance):
    meshes = [None, {"data": 2}, {"data": 8}, {"data": 4, "model": 2}, {"data": 2, "space": 2}]
    one, *others = losses_of_200_steps(meshes, dtype)[0]
    [two_of_four] = losses_of_200_steps([{"data": 8}], dtype, processes=2)[0]
    for other in [*others, two_of_four]:
        assert np.abs(np.subtract(one, other)).max() < tolerance


DIAGONAL = {"name": "diagonal_levenberg_marquardt", "learning_rate": 0.01}
PLATEAU = {
    "name": "adam",
    "learning_rate": 0.01,
    "after": [{"name": "reduce_on_plateau", "patience": 1, "accumulation_size": 2}],
}
MUON = {
    "name": "muon",
    "learning_rate": 0.02,
    "muon_weight_dimension_numbers": "kernels",
}
FEATURES: dict[str, dict[str, object]] = {
    "accumulation": {"training.accumulate_batches": 2},
    "skipping": {"training.on_nonfinite": "skip"},
    "curvature": {"optimizer": DIAGONAL, "loss.class_weights": [1.0, 2.0] * 5},
    "plateau": {"optimizer": PLATEAU},
    "muon": {"optimizer": MUON},
    "frozen": {"optimizer.rates": {"conv_1": 0.0, "batch_norm_1": 0.0}},
    "class weights": {"loss.class_weights": [1.0, 2.0] * 5},
}


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("feature", FEATURES)
def test_what_training_can_do_it_can_do_on_a_mesh(feature):
    meshes = (None, {"data": 2}, {"data": 1, "model": 2}, {"data": 1, "space": 2})
    cases = [many_devices.experiment(mesh, **FEATURES[feature]) for mesh in meshes]
    one, *others = (many_devices.losses(case, 6) for case in cases)
    for other in others:
        assert other == pytest.approx(one, abs=1e-5)


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_the_same_on_a_mesh_but_for_its_rounding(dtype):
    overrides = {"training.precision": dtype}
    one, two = (
        many_devices.losses(many_devices.experiment(mesh, **overrides), 6, dtype)
        for mesh in (None, {"data": 2})
    )
    assert two == pytest.approx(one, rel=0.02)


@pytest.mark.slow
@pytest.mark.thorough
def test_local_statistics_are_each_devices_own_and_their_mean_is_kept():
    def state_after(mesh, x):
        layers = [{**many_devices.LAYERS[1], "statistics": "local"}, *many_devices.LAYERS[3:]]
        experiment = many_devices.experiment(mesh, layers=layers, **{"training.augment": []})
        layout = layout_of(experiment)
        step = Step(experiment, layout=layout)
        state = layout.place(step.init())
        batch = (layout.place_batch(a, slice(0, 32), 32) for a in (x, np.zeros(32, np.int32)))
        return layout.jit(step)(state, *batch, jax.random.key(0))[0].state["batch_norm_1"]

    x = np.random.default_rng(0).normal(size=(32, 8, 8, 1)).astype(np.float32)
    x[16:] += 5
    found = state_after({"data": 2}, x)
    within = np.mean([x[:16].var(), x[16:].var()])
    np.testing.assert_allclose(found["variance"], 0.9 + 0.1 * within, rtol=1e-4)
    np.testing.assert_allclose(found["mean"], 0.1 * x.mean(), rtol=1e-4)
    whole = state_after(None, x)
    np.testing.assert_allclose(whole["variance"], 0.9 + 0.1 * x.var(), rtol=1e-4)
