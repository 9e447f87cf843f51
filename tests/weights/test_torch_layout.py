"""The way to PyTorch's layout: a network there computes the same from what is written for it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn.errors import UserError
from jcnn.layers import (
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    Flatten,
    GlobalMaxPool,
    Layer,
    MaxPool,
    Model,
    PatchWhitening,
    Prelu,
    Relu,
    ReluMaxPool,
    Reshape,
    Residual,
)
from jcnn.weights.torch_layout import model_tensors


def names(*layers: Layer, shape: tuple[int, ...] = (12, 12, 3)) -> list[str]:
    return [tensor.name for tensor in model_tensors(Model(layers), shape)]


def test_names_are_torchvisions():
    convolutional = (Conv(features=4, window=3), Relu(), MaxPool(window=2))
    dense = (Flatten(), Dense(features=8), Relu(), Dense(features=2, bias=False))
    assert names(*convolutional, Conv(features=8, window=3), *dense) == [
        "features.0.weight",
        "features.0.bias",
        "features.3.weight",
        "features.3.bias",
        "classifier.0.weight",
        "classifier.0.bias",
        "classifier.2.weight",
    ]


def test_relu_max_pool_counts_as_the_two_modules_that_it_is():
    rest = (Conv(features=2, window=3, bias="none"), GlobalMaxPool())
    separate = names(Relu(), MaxPool(window=2), *rest)
    assert names(ReluMaxPool(window=2), *rest) == separate == ["features.2.weight"]


def test_a_global_pool_parts_features_from_classifier():
    assert names(Conv(features=2, window=3), GlobalMaxPool(), Dense(features=2, bias=False)) == [
        "features.0.weight",
        "features.0.bias",
        "classifier.0.weight",
    ]


def test_a_flat_input_has_a_classifier_alone():
    assert names(Relu(), Dense(features=2), shape=(5,)) == [
        "classifier.1.weight",
        "classifier.1.bias",
    ]


def test_blocks_nest():
    body = (Conv(features=3, window=1, bias="none"), BatchNorm())
    assert names(Relu(), Residual(layers=body, shortcut=(Prelu(),))) == [
        "features.1.layers.0.weight",
        "features.1.layers.1.weight",
        "features.1.layers.1.bias",
        "features.1.layers.1.running_mean",
        "features.1.layers.1.running_var",
        "features.1.shortcut.0.weight",
    ]


def test_a_block_that_flattens_keeps_its_weights():
    flat = (Flatten(), Dense(features=4))
    found = names(Residual(layers=flat, shortcut=flat), Dense(features=2))
    assert found[0] == "features.0.layers.1.weight"
    assert found[-1] == "classifier.0.bias"


def test_a_layer_without_counterpart_is_refused():
    with pytest.raises(UserError, match=r"'reshape' has no counterpart.*another order"):
        names(Flatten(), Reshape(shape=(12, 12, 3)))
    ordered = Residual(layers=(Dense(features=12 * 12 * 3),))
    with pytest.raises(UserError, match=r"'residual_1' has no counterpart.*two orders"):
        names(Flatten(), ordered)


def moved(model: Model, shape: tuple[int, ...]) -> tuple[Any, Any, dict[str, np.ndarray]]:
    """Parameters and state without two equal numbers, and PyTorch's arrays of them."""
    params, state = model.init(jax.random.key(0), shape)
    generator = np.random.default_rng(0)

    def random(a: jax.Array) -> np.ndarray:
        return generator.uniform(0.5, 1.5, a.shape) * generator.choice([-1, 1], a.shape)

    tree: dict[str, Any] = {"params": jax.tree.map(random, params)}
    tree["state"] = jax.tree.map(lambda a: np.abs(random(a)), state)
    tensors = {}
    for tensor in model_tensors(model, shape):
        array: Any = tree
        for key in tensor.path:
            array = array[key]
        tensors[tensor.name] = tensor.layout.to_torch(array)
        np.testing.assert_array_equal(tensor.layout.from_torch(tensors[tensor.name]), array)
    leaves = jax.tree.leaves(tree)
    assert sum(a.size for a in leaves) == sum(a.size for a in tensors.values())
    return tree["params"], tree["state"], tensors


def sequences(torch: Any, features: list[Any], classifier: list[Any]) -> Any:
    modules = torch.nn.ModuleDict(
        {
            "features": torch.nn.Sequential(*features),
            "classifier": torch.nn.Sequential(*classifier),
        }
    )
    return modules.double().eval()


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("correlate", [True, False])
def test_kernels_biases_and_flattened_inputs(x64, groups, correlate):
    torch = pytest.importorskip("torch")
    conv = Conv(features=6, window=(2, 3), groups=groups, correlate=correlate)
    layers = (conv, BatchNorm(), ReluMaxPool(window=2), Flatten(), BatchNorm(), Prelu())
    model = Model((*layers, Dense(features=5)))
    params, state, tensors = moved(model, (7, 8, 4))
    nn = torch.nn
    theirs = sequences(
        torch,
        [nn.Conv2d(4, 6, (2, 3), groups=groups), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)],
        [nn.BatchNorm1d(54), nn.PReLU(54), nn.Linear(54, 5)],
    )
    agree(torch, model, params, state, tensors, theirs, (7, 8, 4))


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_kernels(x64, groups):
    torch = pytest.importorskip("torch")
    up = ConvTranspose(features=6, window=(3, 2), strides=2, padding=1, groups=groups)
    model = Model((up, Prelu(), Flatten(), Dense(features=3, bias=False)))
    params, state, tensors = moved(model, (3, 4, 4))
    nn = torch.nn
    theirs = sequences(
        torch,
        [nn.ConvTranspose2d(4, 6, (3, 2), 2, padding=1, groups=groups), nn.PReLU(6)],
        [nn.Linear(5 * 6 * 6, 3, bias=False)],
    )
    agree(torch, model, params, state, tensors, theirs, (3, 4, 4))


@pytest.mark.parametrize("spatial", [(9,), (4, 5, 3)])
def test_signals_and_volumes(x64, spatial):
    torch = pytest.importorskip("torch")
    model = Model((Conv(features=3, window=2), Flatten(), Dense(features=2)))
    params, state, tensors = moved(model, (*spatial, 2))
    conv = {1: torch.nn.Conv1d, 3: torch.nn.Conv3d}[len(spatial)](2, 3, 2)
    count = 3 * int(np.prod([n - 1 for n in spatial]))
    theirs = sequences(torch, [conv], [torch.nn.Linear(count, 2)])
    agree(torch, model, params, state, tensors, theirs, (*spatial, 2))


def agree(torch, model, params, state, tensors, theirs, shape):
    theirs.load_state_dict({name: torch.tensor(array) for name, array in tensors.items()})
    x = np.random.default_rng(1).normal(size=(3, *shape))
    ours, _ = model.apply(params, state, jnp.asarray(x))
    planes = theirs["features"](torch.tensor(np.moveaxis(x, -1, 1).copy()))
    expected = theirs["classifier"](planes.flatten(1)).detach().numpy()
    np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-12)


def test_units_of_their_own_biases_have_channels_first():
    model = Model((Conv(features=2, window=3, bias="position"),))
    _, bias = model_tensors(model, (5, 6, 1))
    array = np.arange(24.0).reshape(3, 4, 2)
    np.testing.assert_array_equal(bias.layout.to_torch(array), array.transpose(2, 0, 1))


def test_whitening_is_a_correlation_whose_kernel_is_state(x64):
    torch = pytest.importorskip("torch")
    layers = (PatchWhitening(window=2), ReluMaxPool(window=2), Flatten(), Dense(features=3))
    model = Model(layers)
    params, state, tensors = moved(model, (5, 7, 3))
    nn = torch.nn
    theirs = sequences(
        torch, [nn.Conv2d(3, 24, 2), nn.ReLU(), nn.MaxPool2d(2)], [nn.Linear(24 * 2 * 3, 3)]
    )
    agree(torch, model, params, state, tensors, theirs, (5, 7, 3))
