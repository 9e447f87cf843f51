"""AlexNet: published counts, PyTorch's very numbers, the whole path on a folder of images."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import ops
from jcnn.config import Experiment, load_experiment
from jcnn.inspection.summary import summarize
from jcnn.training import Interrupted, Step, evaluate, load_trained, predict, train
from jcnn.training.progress import Progress
from jcnn.training.state import TrainState
from jcnn.weights.torch_layout import model_tensors
from tests.data.formats import write_image

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = ("alexnet_2012", "alexnet_torchvision")


@pytest.mark.parametrize(
    ("name", "overrides", "parameters"),
    [
        ("alexnet_2012", {}, 60_965_224),
        ("alexnet_2012", {f"layers.{k}.groups": 1 for k in (4, 10, 12)}, 62_378_344),
        ("alexnet_torchvision", {}, 61_100_840),
    ],
)
def test_parameters_are_as_published(name, overrides, parameters):
    assert (
        summarize(load_experiment(CONFIGS / f"{name}.toml", overrides))["parameters"] == parameters
    )


def test_layers_shrink_as_in_the_paper():
    experiment = load_experiment(CONFIGS / "alexnet_2012.toml")
    sides = [shape[0] for shape in experiment.model.shapes(experiment.input_shape) if shape[2:]]
    assert list(dict.fromkeys(sides)) == [55, 27, 13, 6]


def test_the_rate_falls_three_times_by_ten():
    schedule = load_experiment(CONFIGS / "alexnet_2012.toml").optimizer.arguments["learning_rate"]
    assert list(schedule["boundaries_and_scales"].values()) == [0.1, 0.1, 0.1]


def scaled_down(name: str, *, size: int, divisor: int) -> Experiment:
    """The same network with fewer channels and a smaller image, without dropout."""
    whole = load_experiment(CONFIGS / f"{name}.toml")
    overrides: dict[str, object] = {"data.image_size": size, "data.classes": 10}
    for k, layer in enumerate(whole.layers):
        if layer.type == "dropout":
            overrides[f"layers.{k}.drop_rate"] = 0.0
        elif layer.type in ("conv", "dense"):
            overrides[f"layers.{k}.features"] = layer.model_dump()["features"] // divisor
    overrides[f"layers.{len(whole.layers) - 1}.features"] = 10
    return load_experiment(CONFIGS / f"{name}.toml", overrides)


def pytorch_alexnet(torch: Any, experiment: Experiment) -> Any:
    """The same network written in PyTorch, its modules in the order of torchvision's."""
    nn, section, modules = torch.nn, "features", {"features": [], "classifier": []}
    for _, layer, before, _ in experiment.model.walk(experiment.input_shape):
        match layer.type:
            case "conv":
                padding = 0 if layer.padding == "VALID" else layer.padding
                kernel = (layer.window, layer.strides, padding)
                made = nn.Conv2d(before[-1], layer.features, *kernel, groups=layer.groups)
            case "relu":
                made = nn.ReLU()
            case "local_response_norm":
                # PyTorch divides alpha by the number of channels summed; the paper does not.
                made = nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)
            case "max_pool":
                made = nn.MaxPool2d(3, 2)
            case "dropout":
                made = nn.Dropout(layer.drop_rate)
            case "dense":
                made = nn.Linear(before[0], layer.features)
            case "flatten":
                section = "classifier"
                continue
        modules[section].append(made)

    class AlexNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(*modules["features"])
            self.classifier = nn.Sequential(*modules["classifier"])

        def forward(self, x: Any) -> Any:
            return self.classifier(self.features(x).flatten(1))

    return AlexNet()


def same_weights(torch: Any, experiment: Experiment, params: Any, dtype: Any) -> Any:
    network = pytorch_alexnet(torch, experiment).to(dtype)
    tensors = {
        tensor.name: torch.tensor(tensor.layout.to_torch(np.asarray(at(params, tensor.path))))
        for tensor in model_tensors(experiment.model, experiment.input_shape)
    }
    network.load_state_dict(tensors, strict=True)
    return network


def at(params: Any, path: tuple[str, ...]) -> Any:
    _, layer, key = path
    return params[layer][key]


def example(experiment: Experiment, count: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(count, *experiment.input_shape)).astype(dtype)
    return x, generator.integers(0, 10, count).astype(np.int32)


def params_of(experiment: Experiment, dtype: type) -> Any:
    """Weights large enough that every layer matters, and biases that aren't all equal."""
    params, _ = experiment.model.init(jax.random.key(0), experiment.input_shape)
    generator = np.random.default_rng(1)

    def livened(a: jax.Array) -> jax.Array:
        gain = np.sqrt(2 / max(np.prod(a.shape[:-1]), 2)) if a.ndim > 1 else 0.1
        return jnp.asarray(generator.normal(size=a.shape) * gain, dtype)

    return jax.tree.map(livened, params)


def assert_pytorch_agrees(torch: Any, experiment: Experiment, count: int) -> None:
    """Outputs and the gradients of every weight and of the input, in float64."""
    params = params_of(experiment, np.float64)
    x, y = example(experiment, count, np.float64)

    def loss(params, x):
        logits, _ = experiment.model.apply(params, {}, x, training=True, key=jax.random.key(0))
        return ops.softmax_cross_entropy(logits, jnp.asarray(y)).mean(), logits

    (ours, logits), (gradients, dx) = jax.jit(
        jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    )(params, jnp.asarray(x))
    network = same_weights(torch, experiment, params, torch.float64)
    inputs = torch.tensor(x.transpose(0, 3, 1, 2)).requires_grad_()
    outputs = network(inputs)
    theirs = torch.nn.functional.cross_entropy(outputs, torch.tensor(y).long())
    theirs.backward()

    close(logits, outputs.detach())
    close(ours, theirs.detach())
    close(dx, inputs.grad.permute(0, 2, 3, 1))
    by_name = dict(network.named_parameters())
    tensors = model_tensors(experiment.model, experiment.input_shape)
    assert {tensor.name for tensor in tensors} == set(by_name)
    for tensor in tensors:
        gradient = tensor.layout.to_torch(np.asarray(at(gradients, tensor.path)))
        assert np.abs(gradient).max() > 0, tensor.name
        close(gradient, by_name[tensor.name].grad, tensor.name)


def close(found: Any, expected: Any, name: str = "") -> None:
    """Each element to 1e-9 of itself, or to 1e-13 of the largest where sums nearly cancel."""
    expected = np.asarray(expected)
    assert np.asarray(found).dtype == np.float64
    np.testing.assert_allclose(
        np.asarray(found), expected, rtol=1e-9, atol=1e-13 * np.abs(expected).max(), err_msg=name
    )


@pytest.mark.parametrize("name", NAMES)
def test_outputs_and_all_gradients_are_pytorchs(x64, name):
    torch = pytest.importorskip("torch")
    # 99 pixels end in 2x2 before the dense layers, so that the order of flattening shows
    assert_pytorch_agrees(torch, scaled_down(name, size=99, divisor=4), count=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_outputs_and_all_gradients_are_pytorchs_at_the_real_widths(x64, name):
    torch = pytest.importorskip("torch")
    assert_pytorch_agrees(torch, scaled_down(name, size=99, divisor=1), count=1)


def test_training_steps_with_momentum_and_decay_are_pytorchs():
    torch = pytest.importorskip("torch")
    experiment = scaled_down("alexnet_2012", size=67, divisor=4)
    params = params_of(experiment, np.float32)
    optimizer = experiment.optimizer.build(1000)
    state = TrainState(params, {}, optimizer.init(params), None, jnp.int32(0))
    network = same_weights(torch, experiment, params, torch.float32)
    kernels = [p for p in network.parameters() if p.ndim > 1]
    biases = [p for p in network.parameters() if p.ndim == 1]
    descent = torch.optim.SGD(
        [{"params": kernels, "weight_decay": 5e-4}, {"params": biases}], lr=0.01, momentum=0.9
    )
    x, y = example(experiment, 4, np.float32)
    step = jax.jit(Step(experiment))
    for number in range(3):
        state, _ = step(state, jnp.asarray(x), jnp.asarray(y), jax.random.key(number))
        descent.zero_grad()
        outputs = network(torch.tensor(x.transpose(0, 3, 1, 2).copy()))
        torch.nn.functional.cross_entropy(outputs, torch.tensor(y).long()).backward()
        descent.step()
    expected = network.state_dict()
    for tensor in model_tensors(experiment.model, experiment.input_shape):
        ours = tensor.layout.to_torch(np.asarray(at(state.params, tensor.path)))
        np.testing.assert_allclose(
            ours, expected[tensor.name], rtol=1e-4, atol=1e-6, err_msg=tensor.name
        )


def folder_of_images(folder: Path) -> None:
    """Two classes of noise: 12 training and 4 test images each."""
    for split, count in (("train", 12), ("test", 4)):
        for c, name in enumerate(("dark", "light")):
            for k in range(count):
                path = folder / "images" / split / name / f"{k}.png"
                write_image(path, seed=100 * c + k, size=(90, 80))


@pytest.fixture
def small(tmp_path, monkeypatch) -> Experiment:
    """A demonstration config on a folder of images made here."""
    monkeypatch.setenv("JCNN_DATA", str(tmp_path))
    folder_of_images(tmp_path)
    overrides: dict[str, object] = {
        "data.folder": "images",
        "data.classes": 2,
        "data.worker_count": 0,
        "data.train_count": 24,
        "training.batch_size": 4,
        "training.epochs": 4,
        "training.evaluate_every_epochs": 4,
        "training.steps_per_dispatch": 1,
    }
    whole = load_experiment(CONFIGS / "alexnet_cifar10_images.toml")
    for k, layer in enumerate(whole.layers):
        if layer.type in ("conv", "dense"):
            overrides[f"layers.{k}.features"] = 32
    overrides[f"layers.{len(whole.layers) - 1}.features"] = 2
    return load_experiment(CONFIGS / "alexnet_cifar10_images.toml", overrides)


class StopAt(Progress):
    def __init__(self, step: int) -> None:
        self._step = step

    def stepped(self, step: int, means: Any, images_per_second: float) -> None:
        if step >= self._step:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.slow
def test_the_path_from_a_folder_of_images_resumes_to_the_exact_image(small, tmp_path):
    summary = train(small, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(small, tmp_path / "run", progress=StopAt(8))
    resumed = train(small, tmp_path / "run", resume=True)
    assert resumed["sessions"] == 2
    whole, again = (load_trained(tmp_path / name).state for name in ("whole", "run"))
    for one, two in zip(jax.tree.leaves(whole), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(one, two)
    assert resumed["test"] == summary["test"]
    assert evaluate(tmp_path / "run")["loss"] == summary["test"]["loss"]
    (named,) = predict(tmp_path / "run", [tmp_path / "images" / "test" / "light" / "0.png"])
    assert named["class"] in ("dark", "light")
    (tmp_path / "images" / "train").rename(tmp_path / "images" / "gone")
    (again,) = predict(tmp_path / "run", [tmp_path / "images" / "test" / "light" / "0.png"])
    assert again == named, "a run knows its classes when the training images are gone"
