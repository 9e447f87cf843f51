"""What is exported computes what the run computes, everywhere, or is not written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jax
import numpy as np
import pytest

import jcnn.export.run
from jcnn.cli import main
from jcnn.config import Experiment, load_experiment
from jcnn.errors import UserError
from jcnn.export import export_run, hard_outputs, network, onnx_model, stablehlo
from jcnn.training import train
from tests.optional import optional
from tests.selection import slow_unless
from tests.small import CONFIG

onnx, onnxruntime, needs_onnx = optional("onnx", "onnxruntime")
ROOT = Path(__file__).parents[2]
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
SIGNAL = {"name": "fsdd", "front_end": {"frame_count": 12, "mel_bands": 4}}


def conv(features: int, window: object, **keys: object) -> dict:
    return {"type": "conv", "features": features, "window": window, **keys}


def layer(type: str, **keys: object) -> dict:
    return {"type": type, **keys}


HEAD = [layer("flatten"), layer("dense", features=10)]
MODELS = {
    "flattened-between": [
        layer("pad", padding=1, value=-1.0),
        conv(4, 3, strides=[2, 1], bias="position"),
        layer("prelu"),
        layer("local_response_norm", size=3, scale=0.1),
        layer("max_pool", window=3, strides=2, padding=1),
        layer("flatten"),
        layer("relu"),
        layer("dense", features=10),
        layer("softmax"),
    ],
    "planes": [
        conv(4, 3, padding="FULL", dilation=2),
        layer("batch_norm"),
        layer("leaky_relu"),
        conv(4, 2, groups=2, correlate=True, connections=None, bias="none"),
        layer("average_pool", window=2, padding=1),
        layer("decimate", factor=2),
        layer("scaled_tanh"),
        layer("gelu"),
        layer("flatten"),
        layer("batch_norm"),
        layer("dense", features=10),
        layer("sigmoid"),
    ],
    "block": [
        conv(4, 3, padding="SAME", connections=[[0]] * 4),
        layer(
            "residual",
            layers=[conv(6, 3, padding="SAME", strides=2), layer("batch_norm"), layer("relu")],
            shortcut=[conv(6, 1, strides=2)],
        ),
        layer("square_pool", window=2),
        layer("global_average_pool"),
        layer("dense", features=10, bias=False),
        layer("tanh"),
    ],
    "transposed": [
        layer("conv_transpose", features=4, window=2, strides=3, padding="SAME"),
        layer("signum"),
        layer("conv_transpose", features=6, window=3, strides=2, padding=1, groups=2),
        layer("max_pool", window=6),
        layer("reshape", shape=[7, 6, 7]),
        layer("unit_step"),
        conv(3, 2),
        *HEAD,
    ],
    "other borders": [
        conv(4, 3, padding="REFLECT", bias="position"),
        conv(4, 2, padding=[[-1, 1], [0, -1]]),
        layer("conv_transpose", features=3, window=3, strides=2, padding=1, output_padding=1),
        layer("pad", padding=1, mode="replicate"),
        layer("average_pool", window=3, strides=2, padding=1, count_include_pad=False),
        layer("max_pool", window=3, strides=2, ceil_mode=True),
        *HEAD,
    ],
    "signal": [
        conv(6, 3, padding="SAME"),
        layer("relu_max_pool", window=2),
        layer("conv_transpose", features=4, window=3, strides=2),
        layer("global_max_pool"),
        layer("dropout"),
        layer("dense", features=10),
    ],
    "borders": [
        conv(4, 3, padding="CIRCULAR"),
        layer("pad", padding=1, mode="reflect"),
        layer(
            "average_pool", window=3, strides=2, padding=1, ceil_mode=True, count_include_pad=False
        ),
        conv(4, 2, padding=[[-1, 1], [0, 1]]),
        layer("max_pool", window=2, ceil_mode=True),
        layer("conv_transpose", features=3, window=3, strides=2, padding=1, output_padding=1),
        *HEAD,
    ],
    "activities": [
        conv(6, 3),
        layer("local_response_norm", size=4, scale=0.3),
        layer("local_response_norm", size=3, scale=0.0),
        layer("reshape", shape=[18, 12]),
        layer("local_response_norm", size=5, scale=0.3),
        conv(4, 3),
        *HEAD,
    ],
    "mirrored often": [
        layer("pad", padding=[[9, 0], [2, 30]], mode="reflect"),
        conv(3, 3, padding="REFLECT", dilation=50),
        *HEAD,
    ],
    "flat": HEAD,
}


QUICK = {"planes", "block", "activities", "mirrored often"}


def experiment(name: str, loss: object = None, **training: object) -> Experiment:
    return Experiment.model_validate(
        {
            "name": name,
            "data": SIGNAL if name == "signal" else {"name": "digits"},
            "optimizer": {"name": "sgd", "learning_rate": 0.1},
            "loss": loss or {"name": "mean_squared_error"},
            "training": training,
            "layers": [{k: v for k, v in each.items() if v is not None} for each in MODELS[name]],
        }
    )


def drawn(described: Experiment):
    """A network with random weights and statistics, and examples."""
    generator = np.random.default_rng(0)

    def draw(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        return generator.uniform(0.1, 1, leaf.shape).astype(np.float32) - np.float32(0.3)

    shapes = jax.eval_shape(
        lambda k: described.model.init(k, described.input_shape), jax.random.key(0)
    )
    params, state = jax.tree.map(draw, shapes)
    state = jax.tree.map(np.abs, state)
    x = generator.normal(size=(3, *described.input_shape)).astype(np.float32)
    return network(described, params, state), x


def run_onnx(model, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"input": x})[0]


@needs_onnx
@pytest.mark.usefixtures("mathematics")
@pytest.mark.parametrize("name", slow_unless(QUICK.__contains__, MODELS))
def test_onnx_computes_what_the_layers_compute(name):
    taken, x = drawn(experiment(name))
    expected = np.asarray(jax.jit(taken.function())(x))
    for count in (3, 1):  # any batch
        np.testing.assert_allclose(
            run_onnx(onnx_model(taken), x[:count]), expected[:count], **CLOSE
        )


@needs_onnx
@pytest.mark.parametrize(
    "first",
    [
        layer("average_pool", window=3, strides=2, ceil_mode=True),
        layer("conv_transpose", features=3, window=2, padding=-1),
    ],
    ids=["average pool", "transposed"],
)
def test_borders_that_onnx_does_not_have_are_refused(first, monkeypatch):
    monkeypatch.setitem(MODELS, "refused", [first, *HEAD])
    with pytest.raises(UserError, match="has no counterpart in ONNX"):
        onnx_model(drawn(experiment("refused"))[0])


@needs_onnx
@pytest.mark.parametrize("refused", ["the file", "the input"])
def test_what_the_runtime_refuses_is_one_sentence(monkeypatch, capfd, refused):
    beyond = layer("conv_transpose", features=2, window=2, strides=2, dilation=5, output_padding=4)
    monkeypatch.setitem(MODELS, "refused", [beyond, *HEAD])
    taken, x = drawn(experiment("refused"))
    data = b"no graph" if refused == "the file" else jcnn.export.run._build(taken, "onnx", False)
    with pytest.raises(UserError, match=r"ONNX Runtime refuses the exported network: .*written$"):
        jcnn.export.run._runner(taken, "onnx", data)(x)
    assert not capfd.readouterr().err


@needs_onnx
@pytest.mark.usefixtures("mathematics")
@pytest.mark.parametrize("pixels", [0, 2])
def test_an_evaluation_of_several_views_is_one_graph_for_all(pixels):
    taken, x = drawn(experiment("flat", mirrored_evaluation=True, shifted_evaluation=pixels))
    expected = np.asarray(jax.jit(taken.function())(x))
    np.testing.assert_allclose(run_onnx(onnx_model(taken), x), expected, **CLOSE)


@needs_onnx
def test_the_graph_has_a_node_per_layer():
    described = load_experiment(Path(__file__).parents[2] / "configs" / "digits.toml")
    model = onnx_model(drawn(described)[0])
    kinds = [node.op_type for node in model.graph.node]
    assert kinds == [
        *("Transpose", "Conv", "Relu", "Conv", "MaxPool", "Relu"),
        *("Flatten", "Gemm", "Relu", "Gemm"),
    ]
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(facts["classes"]) == list("0123456789")
    assert "pixels in [0, 1]" in facts["preprocessing"]
    assert 'name = "digits"' in facts["experiment"]


def accuracy(run: Path) -> float:
    return json.loads((run / "summary.json").read_text())["test"]["accuracy"]


@pytest.mark.slow
@needs_onnx
def test_the_whole_test_set_agrees_with_the_run(trained, capsys):
    assert main(["export", str(trained), "--format", "onnx", "--json"]) == 0
    exported = json.loads(capsys.readouterr().out)
    assert exported["examples"] == 360
    assert exported["accuracy"] == pytest.approx(accuracy(trained))
    assert exported["largest_difference"] < 1e-5
    assert Path(exported["path"]) == trained / "export" / "model.onnx"


@pytest.mark.slow
def test_stablehlo_runs_without_jcnn(trained, tmp_path):
    exported = export_run(trained, "stablehlo", tmp_path / "out")
    program = f"""
import sys
import numpy as np
from pathlib import Path
import jax
network = jax.export.deserialize(bytearray(Path({exported.path!r}).read_bytes()))
shapes = [network.call(np.zeros((n, 8, 8, 1), np.float32)).shape for n in (1, 5)]
assert not any(name.startswith("jcnn") for name in sys.modules)
print(shapes, network.platforms)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.startswith("[(1, 10), (5, 10)]"), done.stderr
    assert "cuda" in done.stdout


def test_the_card_has_what_the_hub_reads(trained, tmp_path):
    export_run(trained, "safetensors", tmp_path, license="mit")
    card = (tmp_path / "README.md").read_text()
    header = card.split("---\n")[1]
    fields = dict(line.split(": ", 1) for line in header.strip().splitlines())
    read = {key: json.loads(value) for key, value in fields.items()}
    assert read["license"] == "mit"
    assert read["pipeline_tag"] == "image-classification"
    (result,) = read["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == pytest.approx(accuracy(trained))
    for words in ("95 % interval", "Seed 0", "## Limits", "pixels in [0, 1]", "[[layers]]"):
        assert words in card
    assert "the layers of PyTorch take (batch, 1, 8, 8)" in card


@pytest.mark.slow
@pytest.mark.parametrize("products", ["bfloat16", "tensorfloat32"])
def test_the_card_says_in_what_precision_a_network_was_trained(tmp_path, products):
    (tmp_path / "small.toml").write_text(CONFIG)
    keys = {"training.precision": "bfloat16", "training.matmul_precision": products}
    train(load_experiment(tmp_path / "small.toml", keys), tmp_path / "run")
    export_run(tmp_path / "run", "safetensors", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    written = (f'{key.removeprefix("training.")} = "{value}"' for key, value in keys.items())
    for words in ("another precision than float32", f"products of {products}", *written):
        assert words in card


def test_the_card_names_the_file_that_it_is_of(trained, tmp_path):
    for format, said in (
        ("safetensors", "This card is of `model.safetensors`.\n"),
        ("stablehlo", "of `model.stablehlo` alone; beside it lies `model.safetensors`.\n"),
    ):
        export_run(trained, format, tmp_path)
        assert said in (tmp_path / "README.md").read_text()


@pytest.mark.usefixtures("mathematics")
def test_decisions_take_the_place_of_the_nonlinearity():
    output = np.array([[0.2, 0.7, -0.1]], np.float32)
    assert hard_outputs(experiment("flattened-between"), output).tolist() == [1]
    assert hard_outputs(experiment("planes"), output).tolist() == [[0, 1, 0]]
    assert hard_outputs(experiment("block"), output).tolist() == [[1, 1, -1]]
    with pytest.raises(UserError, match="softmax, sigmoid or tanh"):
        hard_outputs(experiment("flat"), output)


@pytest.mark.usefixtures("mathematics")
def test_a_hidden_sigmoid_is_not_the_outputs(monkeypatch):
    hidden = [layer("flatten"), layer("dense", features=4), layer("sigmoid")]
    monkeypatch.setitem(MODELS, "logits", [*hidden, layer("dense", features=10)])
    logits = experiment("logits", loss={"name": "binary_cross_entropy"})
    assert hard_outputs(logits, np.array([[0.2, 0.7, -0.1]], np.float32)).tolist() == [[1, 1, 0]]


@pytest.mark.usefixtures("mathematics")
def test_the_shape_of_the_outputs_leaves_their_nonlinearity_what_it_is(monkeypatch):
    shaped = [layer("flatten"), layer("dense", features=10), layer("sigmoid")]
    monkeypatch.setitem(MODELS, "shaped", [*shaped, layer("flatten"), layer("flatten")])
    assert hard_outputs(experiment("shaped"), np.array([[0.2]], np.float32)).tolist() == [[0]]


@needs_onnx
@pytest.mark.usefixtures("mathematics")
@pytest.mark.parametrize("name", ["flattened-between", "planes", "block"])
def test_hard_graphs_decide_as_the_outputs_say(name):
    taken, x = drawn(experiment(name))
    soft, hard = run_onnx(onnx_model(taken), x), run_onnx(onnx_model(taken, hard=True), x)
    np.testing.assert_array_equal(hard, hard_outputs(taken.experiment, soft))


def test_hard_stablehlo_gives_classes(trained, tmp_path):
    exported = export_run(trained, "stablehlo", tmp_path, hard=True)
    assert exported.largest_difference is None
    program = jax.export.deserialize(bytearray(Path(exported.path).read_bytes()))
    assert program.call(np.zeros((2, 8, 8, 1), np.float32)).dtype == np.int32


def test_another_network_is_not_written(trained, tmp_path, monkeypatch):
    def other(taken, format, hard):
        params = jax.tree.map(lambda a: a + np.float32(1e-3), taken.params)
        return stablehlo(network(taken.experiment, params, taken.state), hard=hard)

    monkeypatch.setattr(jcnn.export.run, "_build", other)
    with pytest.raises(UserError, match="other outputs than the run"):
        export_run(trained, "stablehlo", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("format", "package", "extra"),
    [("onnx", "onnx", "onnx"), ("stablehlo", "flatbuffers", "experiments")],
    ids=["onnx", "stablehlo"],
)
def test_without_the_extra_it_says_what_to_install(
    trained, monkeypatch, capsys, format, package, extra
):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "jax._src.export.serialization", raising=False)
    assert main(["export", str(trained), "--format", format]) == 2
    assert f"jcnn[{extra}]" in capsys.readouterr().err


def test_the_extra_of_the_commands_brings_what_jax_serializes_with():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    brought = project["optional-dependencies"]["experiments"]
    assert "flatbuffers" in {re.split("[<>=]", package)[0] for package in brought}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "onx"], "onnx"),
        (["--format", "safetensors", "--hard"], "--hard"),
        (["--format", "stablehlo", "--out", "file"], "file"),
    ],
)
def test_a_wrong_argument_is_named(trained, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    assert main(["export", str(trained), *arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert len(captured.err.splitlines()) == 1


def test_somebody_else_s_readme_is_left_alone(trained, tmp_path, capsys):
    (tmp_path / "README.md").write_text("# Mine\n")
    assert main(["export", str(trained), "--format", "safetensors", "--out", str(tmp_path)]) == 2
    assert "its README.md is not a model card" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    for _ in range(2):  # a card of jcnn's own is written again
        export_run(trained, "safetensors", tmp_path / "out")


def test_no_run_no_export(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        export_run(tmp_path, "stablehlo")
