"""PyTorch as the peer: the same layers, in a process of its own."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

from jcnn import reference
from jcnn.benchmark import Effort, bench_step
from jcnn.benchmark.shapes import CASES, convolution
from jcnn.benchmark.timing import measure
from jcnn.benchmark.torch.peer import open_peer
from jcnn.config import load_experiment
from tests.optional import optional

HERE = "jcnn.benchmark.torch"
PARTS = ("functions", "network", "operations", "optimizer", "worker")
torch, functions, network, operations, optimizer, worker, pytestmark = optional(
    "torch", *(f"{HERE}.{part}" for part in PARTS)
)

CONFIGS = Path(__file__).parents[2] / "configs"
TEMPLATE = """
[data]
name = "digits"
[optimizer]
name = "{optimizer}"
learning_rate = 0.1
{arguments}
[training]
batch_size = 3
[[layers]]
type = "conv"
features = 4
window = 3
padding = "SAME"
strides = 2
bias = "position"
{layer}
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
features = 10
"""
LAYERS = {
    "conv": 'type = "conv"\nfeatures = 2\nwindow = 3\nconnections = [[0], [1, 3]]\npadding = 2',
    "conv_transpose": 'type = "conv_transpose"\nfeatures = 2\nwindow = 4\npadding = "SAME"',
    "cut unevenly": 'type = "conv_transpose"\nfeatures = 2\nwindow = 3\npadding = [[0, 1], [1, 0]]',
    "relu": 'type = "relu"',
    "leaky_relu": 'type = "leaky_relu"',
    "prelu": 'type = "prelu"',
    "scaled_tanh": 'type = "scaled_tanh"',
    "gelu": 'type = "gelu"',
    "max_pool": 'type = "max_pool"\nwindow = 3\nstrides = 2\npadding = "SAME"',
    "relu_max_pool": 'type = "relu_max_pool"\nwindow = 2',
    "average_pool": 'type = "average_pool"\nwindow = 2',
    "square_pool": 'type = "square_pool"\nwindow = 2',
    "decimate": 'type = "decimate"\nfactor = 2',
    "pad": 'type = "pad"\npadding = 1\nvalue = -1.0',
    "dropout": 'type = "dropout"',
    "batch_norm": 'type = "batch_norm"',
    "local_response_norm": 'type = "local_response_norm"',
    "residual": 'type = "residual"\nlayers = [{type = "relu"}]\nshortcut = [{type = "tanh"}]',
}


def written(
    tmp_path: Path, layer: str = "", optimizer: str = "sgd", arguments: str = "", **training: object
):
    path = tmp_path / "tiny.toml"
    table = f"[[layers]]\n{layer}" if layer else ""
    path.write_text(TEMPLATE.format(layer=table, optimizer=optimizer, arguments=arguments))
    return load_experiment(path, {f"training.{key}": value for key, value in training.items()})


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_every_layer_has_its_shape(tmp_path, layer):
    """The dense layer at the end fits only if all before it have the sizes that ours have."""
    network.build_step(written(tmp_path, layer), "channels_last", "cpu")()


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
def test_step_lowers_the_loss(tmp_path, optimizer):
    step = network.build_step(written(tmp_path, optimizer=optimizer), "contiguous", "cpu")
    first = float(step().detach())
    for _ in range(30):
        last = float(step().detach())
    assert last < first


def test_products_of_bfloat16_are_those_of_its_autocast(tmp_path):
    losses = [
        network.build_step(written(tmp_path, **asked), "contiguous", "cpu")().detach()
        for asked in ({}, {"matmul_precision": "float32"}, {"matmul_precision": "bfloat16"})
    ]
    assert losses[0].dtype == losses[2].dtype == torch.float32
    assert losses[0] == losses[1] != losses[2]
    assert abs(float(losses[0] - losses[2])) < 0.05


@pytest.fixture
def tf32():
    """The two switches, as they are when asked; as before afterwards."""
    switches = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [switch.allow_tf32 for switch in switches]
    yield lambda: [switch.allow_tf32 for switch in switches]
    for switch, value in zip(switches, before, strict=True):
        switch.allow_tf32 = value


@pytest.mark.parametrize("allowed", [True, False])
def test_products_on_a_gpu_are_those_that_the_experiment_asks_for(
    tmp_path, monkeypatch, tf32, allowed
):
    monkeypatch.setattr(network, "network", lambda *_: torch.nn.Sequential())  # no GPU is needed
    monkeypatch.setattr(torch, "randn", lambda *_, device: 1 / 0)
    for asked, expected in (
        ({}, allowed),
        ({"matmul_precision": "float32"}, False),
        ({"matmul_precision": "tensorfloat32"}, True),
    ):
        network.allow_tf32(allowed)
        with pytest.raises(ZeroDivisionError):
            network.build_step(written(tmp_path, **asked), "contiguous", "cuda")
        assert tf32() == [expected, expected]


@pytest.mark.parametrize(("precision", "device"), [("tensorfloat32", "cpu"), ("bfloat16", "cuda")])
def test_products_that_it_does_not_have_are_not_measured(tmp_path, precision, device):
    asked = written(tmp_path, matmul_precision=precision)
    with pytest.raises(ValueError, match=f"not measured in {precision} there"):
        network.build_step(asked, "contiguous", device)


FROZEN = """
type = "residual"
name = "{name}"
layers = [
    {{type = "conv", features = 4, window = 3, padding = "SAME"}},
    {{type = "batch_norm"}},
    {{type = "dropout"}},
]
"""


def test_frozen_layers_are_evaluated_and_do_not_learn(tmp_path):
    layers = FROZEN.format(name="still") + "[[layers]]" + FROZEN.format(name="learning")
    rates = "rates = {still = 0.0, conv_1 = 0.0, dense_1 = 0.5}"
    experiment = written(tmp_path, layers, arguments=rates)
    _, still, learning, _, dense = net = network.network(
        experiment.model, experiment.input_shape, experiment.frozen
    )
    assert not any(module.training for module in still.modules())
    assert all(module.training for module in learning.modules())
    learned = {*learning.parameters(), *dense.parameters()}
    assert {p for p in net.parameters() if p.requires_grad} == learned
    groups = optimizer.build_optimizer(experiment, net).param_groups
    assert {p for group in groups for p in group["params"]} == learned
    assert groups[1]["lr"] == groups[0]["lr"] / 2


def test_step_takes_frozen_layers_so(tmp_path):
    kept = []
    hook = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, _: kept.append(module)
    )
    layers = FROZEN.format(name="still")
    experiment = written(tmp_path, layers, arguments="rates = {still = 0.0}")
    step = network.build_step(experiment, "contiguous", "cpu")
    try:
        step()
    finally:
        hook.remove()
    (norm,) = (module for module in kept if isinstance(module, torch.nn.BatchNorm2d))
    assert not norm.training
    assert norm.weight.grad is None
    assert int(norm.num_batches_tracked) == 0


def test_a_network_of_which_nothing_learns_has_no_peer(tmp_path):
    experiment = written(tmp_path, arguments='rates = {"*" = 0.0}')
    with pytest.raises(ValueError, match="of which nothing learns"):
        network.build_step(experiment, "contiguous", "cpu")


@pytest.mark.parametrize(
    ("arguments", "decaying"),
    [("", 4), ('weight_decay = 0.1\nmask = "kernels"', 2), ("weight_decay = 0.0", 0)],
)
def test_weights_decay_as_ours_do(tmp_path, arguments, decaying):
    experiment = written(tmp_path, "", "adamw", arguments)
    net = network.network(experiment.model, experiment.input_shape)
    groups = optimizer.build_optimizer(experiment, net).param_groups
    assert sum(len(group["params"]) for group in groups) == 4
    assert sum(len(group["params"]) for group in groups if group["weight_decay"]) == decaying


@pytest.mark.parametrize(
    ("name", "arguments", "lacking"),
    [
        ("sgd", "momentum = 0.9\nnesterov = true", []),
        ("adam", "b1 = 0.8\nnesterov = true", ["optimizer.nesterov"]),
        ("sgd", 'before = [{name = "clip", max_delta = 1.0}]', ["clip in optimizer.before"]),
        ("adamw", 'after = [{name = "fixed_norms"}]', ["fixed_norms in optimizer.after"]),
    ],
)
def test_what_the_peers_optimizer_lacks_is_named(tmp_path, name, arguments, lacking):
    assert optimizer.left_out(written(tmp_path, "", name, arguments)) == lacking


def test_what_the_peers_step_lacks_besides_is_named(tmp_path):
    more = {"accumulate_batches": 2, "on_nonfinite": "skip"}
    experiment = written(tmp_path, **more)
    weighted = experiment.loss.model_copy(update={"class_weights": (1.0,) * 10})
    experiment = experiment.model_copy(update={"loss": weighted})
    assert optimizer.left_out(experiment) == [
        "loss.class_weights",
        "training.accumulate_batches",
        "training.on_nonfinite",
    ]


def test_what_is_compiled_runs_once_when_it_is_built(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(
        worker.network, "build_step", lambda _, layout, __: lambda: ran.append(layout)
    )
    own = worker.Worker()
    for layout in ("contiguous", "compiled"):
        own.build_step(key=layout, layout=layout, experiment=written(tmp_path).to_toml())
    assert ran == ["compiled"]


def test_what_does_not_run_is_not_built(monkeypatch):
    monkeypatch.setattr(worker.operations, "build", lambda *_: lambda: 1 / 0)
    own = worker.Worker()
    with pytest.raises(ZeroDivisionError):
        own.build_operation(key="compiled", layout="compiled", operation={})
    with pytest.raises(KeyError):
        own.run(key="compiled", count=1)


def test_parameters_are_as_many_as_ours():
    experiment = load_experiment(CONFIGS / "bench_residual.toml")
    net = network.network(experiment.model, experiment.input_shape)
    ours = experiment.model.cost(experiment.input_shape).parameters
    assert sum(p.numel() for p in net.parameters()) == ours


@pytest.mark.parametrize(
    ("x", "window", "options"),
    [
        ((2, 7, 6, 4), (3, 3), {"strides": 2, "padding": 1, "groups": 2}),
        ((2, 7, 6, 4), (3, 2), {"padding": "SAME"}),
        ((2, 9, 4), (4,), {"strides": 3}),
    ],
)
def test_convolution_is_the_same_operation(x, window, options):
    call = convolution(x, window, 6, **options).call
    arrays = [np.asarray(a) for a in call.draw(np.random.default_rng(0))]
    order = (0, len(x) - 1, *range(1, len(x) - 1))
    kernel_order = (len(x) - 1, len(x) - 2, *range(len(x) - 2))
    tensors = (arrays[0].transpose(order), arrays[1].transpose(kernel_order))
    found = functions.correlate(*map(torch.tensor, tensors), **options).numpy()
    expected = np.asarray(reference.correlate(*map(jax.numpy.asarray, arrays), **options))
    np.testing.assert_allclose(found, expected.transpose(order), rtol=1e-4, atol=1e-5)


def test_uneven_padding_of_a_transposed_convolution_is_cut():
    x, w = torch.randn(1, 2, 5), torch.randn(2, 3, 4)
    whole = functions.convolve_transpose(x, w, strides=2)
    cut = functions.convolve_transpose(x, w, strides=2, padding=((1, 2),))
    torch.testing.assert_close(cut, whole[..., 1:-2])


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("case", {c.call.op: c for c in CASES}.values(), ids=lambda c: c.call.op)
def test_operations_run_in_every_pass(case, layout):
    most = max(12, dict(case.call.statics).get("window", 0))  # a pool's window stays inside
    arrays = [(name, [min(n, most) for n in shape], kind) for name, shape, kind in case.call.arrays]
    for passes in case.passes:
        operation = {
            "op": case.call.op,
            "arrays": arrays,
            "statics": dict(case.call.statics),
            "passes": passes,
        }
        operations.build(operation, layout, "cpu")()


def test_every_operation_of_the_table_has_a_counterpart():
    assert {case.call.op for case in CASES} <= set(functions.FUNCTIONS)


@pytest.mark.slow
def test_peer_runs_in_a_process_of_its_own(tmp_path):
    quick = Effort(repeats=2, seconds=0.01, sample_seconds=0.0)
    result = bench_step(written(tmp_path), quick, scan_steps=2)
    step = result.rows[0]
    assert step.values["torch"] > 0
    assert step.ratio["torch"] == step.values["torch"] / step.values["jcnn"]
    assert "PyTorch: c" in step.note
    assert result.torch == torch.__version__
    with open_peer(True, written(tmp_path, 'type = "signum"')) as (peer, reason):
        assert peer is None
        assert "no counterpart of the layer 'signum'" in reason
    with open_peer(True) as (peer, _):
        assert peer is not None
        operation = {"op": "max_pool", "arrays": [["x", [2, 4, 4, 1], "float32"]]}
        subjects = peer.operation_subjects(
            operation | {"statics": {"window": 2}, "passes": "forward and backward"}
        )
        assert len(measure(subjects, quick)) == 2
