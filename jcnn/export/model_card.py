"""A model card in Hugging Face's format: what a network is, knows, and does not know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jcnn
from jcnn.axes import times
from jcnn.config import Experiment, Training
from jcnn.errors import counted
from jcnn.export.output import Network, hardening
from jcnn.export.preprocessing import preprocessing
from jcnn.runs import Run
from jcnn.runs.statistics import share_interval

if TYPE_CHECKING:
    from jcnn.export.run import Exported

CARD = "README.md"
_LIBRARY = "jcnn"
_USE = {
    "onnx": """\
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
output, = session.run(None, {{"input": np.zeros((1, {shape}), np.float32)}})""",
    "stablehlo": """\
import jax, numpy as np
from pathlib import Path
network = jax.export.deserialize(bytearray(Path("model.stablehlo").read_bytes()))
output = network.call(np.zeros((1, {shape}), np.float32))""",
    "safetensors": """\
from safetensors.numpy import load_file
weights = load_file("model.safetensors")   # names and layout of PyTorch""",
}


def is_card(path: Path) -> bool:
    """Whether a file is a card of :func:`model_card`, or not there."""
    if not path.exists():
        return True
    return f'library_name: "{_LIBRARY}"' in path.read_text(encoding="utf-8", errors="replace")


def model_card(
    run: Run, network: Network, exported: Exported, license: str, experiment: Experiment
) -> str:
    """Write the card of an exported network, Markdown behind a YAML header.

    Args:
        run: Where it was trained.
        network: What was exported.
        exported: How.
        license: Of its weights.
        experiment: As it was trained.
    """
    summary = run.summary() if run.summary_file.exists() else {}
    lines = ["---", *_header(network, exported, license), "---", "", f"# {experiment.name}", ""]
    lines += [*_about(network, exported), "", "## Figures", "", *_figures(network, exported), ""]
    lines += ["## Use", "", "```python", _usage(network, exported), "```", ""]
    lines += [_input(experiment, exported.format), "", "Classes, in their order: "]
    lines[-1] += ", ".join(f"`{name}`" for name in experiment.data.class_names) + "."
    lines += ["", "## Training", "", *_training(network, summary), "", "## Limits", ""]
    lines += [*_limits(experiment), "", "## The experiment", "", "```toml"]
    return "\n".join([*lines, experiment.to_toml().rstrip(), "```", ""])


def _input(experiment: Experiment, format: str) -> str:
    said = preprocessing(experiment)
    *size, channels = experiment.input_shape
    if format != "safetensors" or not size:
        return said
    shape = ", ".join(map(str, ("batch", channels, *size)))
    return f"{said} That is how jcnn takes it; the layers of PyTorch take ({shape})."


def _header(network: Network, exported: Exported, license: str) -> list[str]:
    """The keys that Hugging Face's hub reads; a JSON string is one of YAML too."""
    experiment = network.experiment
    signal = len(experiment.input_shape) == 2
    task = "audio-classification" if signal else "image-classification"
    data = {"type": experiment.data.name, "name": experiment.data.name, "split": "test"}
    metric = {"type": "accuracy", "value": exported.accuracy}
    result = {"task": {"type": task}, "dataset": data, "metrics": [metric]}
    fields: dict[str, Any] = {
        "license": license,
        "library_name": _LIBRARY,
        "pipeline_tag": task,
        "tags": ["jcnn", "jax", exported.format],
        "metrics": ["accuracy"],
        "model-index": [{"name": experiment.name, "results": [result]}],
    }
    return [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]


def _about(network: Network, exported: Exported) -> list[str]:
    experiment = network.experiment
    parameters = experiment.model.cost(experiment.input_shape).parameters
    types = " → ".join(layer.type for layer in experiment.layers)
    about = [
        f"A convolutional network of {parameters:,} parameters, trained by jcnn "
        f"{jcnn.__version__} on `{experiment.data.name}`: {times(experiment.input_shape)} to "
        f"{experiment.class_count} classes.",
        "",
        f"Layers: {types}.",
        "",
        _file(Path(exported.path)),
    ]
    if exported.hard:
        about += ["", f"This file gives decisions: its output is the {hardening(experiment)}."]
    if len(experiment.training.views) > 1:
        about += ["", f"Its output is the mean of those for {_views(experiment.training)}."]
    return about


def _file(path: Path) -> str:
    others = sorted(f"`{other.name}`" for other in path.parent.glob("model.*") if other != path)
    said = f"This card is of `{path.name}`"
    return f"{said} alone; beside it lies {', '.join(others)}." if others else f"{said}."


def _views(training: Training) -> str:
    if not training.shifted_evaluation:
        return "an image and for its mirror image"
    pixels = training.shifted_evaluation
    moved = f"an image as it is and moved by ±{pixels} along either axis and both"
    return f"{moved}, each with its mirror image" if training.mirrored_evaluation else moved


def _figures(network: Network, exported: Exported) -> list[str]:
    low, high = share_interval(round(exported.accuracy * exported.examples), exported.examples)
    said = (
        "its decisions are the run's"
        if exported.largest_difference is None
        else f"its outputs differ from the run's by {exported.largest_difference:.1e} at most"
    )
    return [
        "| test examples | accuracy | 95 % interval |",
        "|---|---|---|",
        f"| {exported.examples:,} | {exported.accuracy:.2%} | {low:.2%} to {high:.2%} |",
        "",
        f"The file was held against the run on all of them: {said}.",
    ]


def _usage(network: Network, exported: Exported) -> str:
    return _USE[exported.format].format(shape=", ".join(map(str, network.experiment.input_shape)))


def _training(network: Network, summary: dict[str, Any]) -> list[str]:
    experiment = network.experiment
    said = [
        f"Seed {experiment.seed}, optimizer `{experiment.optimizer.name}`, loss "
        f"`{experiment.loss.name}`, {counted(experiment.training.epochs, 'epoch')} in batches of "
        f"{experiment.training.batch_size}."
    ]
    if summary:
        versions = ", ".join(f"{k} {v}" for k, v in summary.get("versions", {}).items())
        said.append(f"{summary.get('steps')} steps in {summary.get('seconds')} s; {versions}.")
    else:
        said.append("Its training had not ended when it was exported.")
    return said


def _limits(experiment: Experiment) -> list[str]:
    limits = [
        "- One run from one seed: another seed gives other figures.",
        f"- It knows {experiment.class_count} classes and calls whatever it is given one of them.",
        f"- Measured on the test split of `{experiment.data.name}` alone; elsewhere expect less.",
    ]
    if experiment.data.validation_count is not None:
        limits.append("- That split is a part of the training set, taken out for choices.")
    if experiment.training.precision != "float32":
        limits.append("- Trained in another precision than float32, in which it is exported.")
    if (products := experiment.training.matmul_precision) not in (None, "float32"):
        limits.append(f"- Trained with products of {products}, and exported with those of float32.")
    return limits
