"""Weights in files: written whole, read strictly, and what doesn't fit is named."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load, save

from jcnn.cli import main
from jcnn.errors import UserError
from jcnn.training import (
    evaluate,
    load_trained,
    load_weights,
    save_weights,
    train,
)
from jcnn.weights import read_weights, write_weights

# They start processes, train or compile much.
pytestmark = pytest.mark.slow

SMALL: dict[str, object] = {
    "layers": [
        {"type": "conv", "features": 4, "window": 3},
        {"type": "batch_norm"},
        {"type": "relu_max_pool", "window": 2},
        {"type": "flatten"},
        {"type": "dense", "features": 10},
    ],
    "training.epochs": 1,
}


@pytest.fixture
def experiment(tiny):
    return tiny(SMALL)


@pytest.fixture
def written(experiment, tmp_path):
    """A file of the experiment's initial weights."""
    params, state = experiment.model.init(jax.random.key(1), experiment.input_shape)
    write_weights(tmp_path / "w.safetensors", experiment, params, state)
    return tmp_path / "w.safetensors"


def same(one, two):
    jax.tree.map(np.testing.assert_array_equal, one, two)


def test_what_is_written_is_read_back(experiment, written):
    params, state = experiment.model.init(jax.random.key(1), experiment.input_shape)
    same(read_weights(written, experiment), (params, state))
    tensors = load(written.read_bytes())
    assert {name: array.shape for name, array in tensors.items()} == {
        "features.0.weight": (4, 1, 3, 3),
        "features.0.bias": (4,),
        "features.1.weight": (4,),
        "features.1.bias": (4,),
        "features.1.running_mean": (4,),
        "features.1.running_var": (4,),
        "classifier.0.weight": (10, 36),
        "classifier.0.bias": (10,),
    }


def test_pytorchs_own_files_are_read(experiment, written, tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    nn = torch.nn
    network = nn.ModuleDict(
        {
            "features": nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)),
            "classifier": nn.Sequential(nn.Linear(36, 10)),
        }
    )
    save_file(network.state_dict(), tmp_path / "torch.safetensors")
    params, _ = read_weights(tmp_path / "torch.safetensors", experiment)
    kernel = network["features"][0].weight.detach().numpy()
    np.testing.assert_array_equal(
        params["conv_1"]["w"][::-1, ::-1, 0, :], kernel[:, 0].transpose(1, 2, 0)
    )


def rewritten(path: Path, change) -> None:
    tensors = load(path.read_bytes())
    path.write_bytes(save(change(tensors)))


def renamed(tensors, old, new):
    return {new if name == old else name: array for name, array in tensors.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: {k: v for k, v in t.items() if k != "features.0.bias"},
            r"has no tensor 'features\.0\.bias': expected the 'b' of layer 'conv_1', \[4\]",
        ),
        (
            lambda t: renamed(t, "classifier.0.weight", "classifier.1.weight"),
            r"no tensor 'classifier\.0\.weight' \(did you mean 'classifier\.1\.weight'\?\)",
        ),
        (
            lambda t: {**t, "features.9.weight": np.zeros(2, np.float32)},
            r"has a tensor 'features\.9\.weight'.*expected only the 8",
        ),
        (
            lambda t: {**t, "features.num_batches_tracked": np.zeros(1, np.int64)},
            r"has a tensor 'features\.num_batches_tracked'",
        ),
        (
            lambda t: {**t, "classifier.0.weight": np.zeros((36, 10), np.float32)},
            r"'classifier\.0\.weight', the 'w' of layer 'dense_1', has the shape \[36, 10\]: "
            r"expected \[10, 36\]",
        ),
        (
            lambda t: {**t, "features.0.bias": t["features.0.bias"] * np.float32(np.nan)},
            r"'features\.0\.bias', the 'b' of layer 'conv_1', holds nan in 4 of 4 places",
        ),
        (
            lambda t: {**t, "features.0.bias": t["features.0.bias"].astype(np.int32)},
            "dtype I32: expected F32",
        ),
        (lambda t: {}, r"has no tensor 'features\.0\.weight'"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(experiment, written, change, message):
    rewritten(written, change)
    refused(written, experiment, message)


def refused(path, experiment, message):
    with pytest.raises(UserError, match=message) as raised:
        read_weights(path, experiment)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[:-1], r"is cut short: its tensor '[a-z]+\.\d\.\w+' ends at byte \d+, and it"),
        (lambda b: b[:-1700], "is cut short: its tensor"),
        (lambda b: b[:40], r"is no intact \.safetensors file"),
        (lambda b: b[:5], r"is no intact \.safetensors file"),
        (lambda b: b"", r"is no intact \.safetensors file"),
        (lambda b: b + b"x", r"is no intact \.safetensors file"),
        (lambda b: b"PK\x03\x04" + b, r"is no intact \.safetensors file"),
        (lambda b: b[:8] + b"[" + b[9:], r"is no intact \.safetensors file"),
    ],
)
def test_a_damaged_file_is_named(experiment, written, change, message):
    written.write_bytes(change(written.read_bytes()))
    refused(written, experiment, message)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.pth", r"expected a \.safetensors file, whose reading runs no code; convert it with"),
        ("a.safetensors", r"is no intact \.safetensors file"),
    ],
)
def test_a_pickle_is_refused_unopened(experiment, tmp_path, name, message):
    (tmp_path / name).write_bytes(pickle.dumps({"features.0.weight": Unpickled()}))
    refused(tmp_path / name, experiment, message)


class Unpickled:
    """What fails where it is read from a pickle."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def test_a_missing_file_or_a_folder_is_named(experiment, tmp_path):
    refused(tmp_path / "none", experiment, "does not exist")
    refused(tmp_path, experiment, "is a folder")


def test_a_file_is_written_whole_or_not_at_all(experiment, written, monkeypatch):
    before = written.read_bytes()
    params, state = experiment.model.init(jax.random.key(2), experiment.input_shape)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match=r"w\.safetensors' can't be written: No space left"):
        write_weights(written, experiment, params, state)
    assert written.read_bytes() == before
    assert [p.name for p in written.parent.iterdir() if "safetensors" in p.name] == [written.name]
    with pytest.raises(UserError, match=r"none/w\.safetensors' can't be written: No such file"):
        write_weights(written.parent / "none" / "w.safetensors", experiment, params, state)


def test_a_run_goes_to_a_file_and_back(experiment, tiny, tmp_path):
    summary = train(experiment, tmp_path / "run")
    file = tmp_path / "w.safetensors"
    assert len(save_weights(tmp_path / "run", file)) == 8
    again = tiny({**SMALL, "training.initial_weights": str(file)})
    load_weights(again, tmp_path / "again")
    one, two = (load_trained(tmp_path / name) for name in ("run", "again"))
    same((one.state.params, one.state.state), (two.state.params, two.state.state))
    assert two.step == 0
    assert evaluate(tmp_path / "again")["loss"] == summary["test"]["loss"]


@pytest.mark.slow
def test_averaged_parameters_are_what_is_saved(tiny, tmp_path):
    experiment = tiny({**SMALL, "training.average_decay": 0.9})
    train(experiment, tmp_path / "run")
    save_weights(tmp_path / "run", tmp_path / "w.safetensors")
    params, _ = read_weights(tmp_path / "w.safetensors", experiment)
    same(params, load_trained(tmp_path / "run").state.average[0])


@pytest.mark.slow
def test_training_begins_with_initial_weights(experiment, tiny, tmp_path):
    train(experiment, tmp_path / "first")
    file = tmp_path / "w.safetensors"
    save_weights(tmp_path / "first", file)
    still = {"optimizer.learning_rate": 0.0, "training.initial_weights": str(file)}
    train(tiny({**SMALL, **still}), tmp_path / "second")
    one, two = (load_trained(tmp_path / name).state for name in ("first", "second"))
    same(one.params, two.params)


def test_a_loaded_run_is_trained_further_like_one_that_begins_with_its_weights(
    experiment, written, tiny, tmp_path
):
    begun = tiny({**SMALL, "training.initial_weights": str(written)})
    train(begun, tmp_path / "straight")
    load_weights(begun, tmp_path / "loaded")
    train(begun, tmp_path / "loaded", resume=True)
    one, two = (load_trained(tmp_path / name).state for name in ("straight", "loaded"))
    same(one.params, two.params)


def test_weights_that_do_not_fit_leave_no_run(tiny, written, tmp_path):
    narrow = tiny({**SMALL, "layers.0.features": 3, "training.initial_weights": str(written)})
    for attempt in (train, load_weights):
        with pytest.raises(UserError, match=r"features\.0\.weight.*expected \[3, 1, 3, 3\]"):
            attempt(narrow, tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_a_file_of_weights_may_have_any_name(experiment, written, tmp_path):
    (tmp_path / "small.toml").write_text(experiment.to_toml(), encoding="utf-8")
    named = written.rename(tmp_path / 'the "first" \N{SNOWMAN} \N{GRINNING FACE}.safetensors')
    paths = [str(tmp_path / "small.toml"), str(named), "--out", str(tmp_path / "run")]
    assert main(["weights", "load", *paths]) == 0
    assert load_trained(tmp_path / "run").experiment.training.initial_weights.file == str(named)


@pytest.mark.parametrize("given", ["in the file", "by --set"])
def test_what_is_said_of_the_file_is_kept(experiment, written, tmp_path, given):
    prefixed = tmp_path / "p.safetensors"
    tensors = load(written.read_bytes())
    prefixed.write_bytes(save({f"module.{name}": array for name, array in tensors.items()}))
    table = 'training.initial_weights.replace={"^module[.]" = ""}'
    own = experiment.to_toml()
    if given == "in the file":
        own = own.replace("[training]", f"[training]\n{table.removeprefix('training.')}")
    (tmp_path / "small.toml").write_text(own, encoding="utf-8")
    words = [str(tmp_path / "small.toml"), str(prefixed), "--out", str(tmp_path / "run")]
    words += ["--set", table] if given == "by --set" else []
    assert main(["weights", "load", *words]) == 0
    begun = load_trained(tmp_path / "run").experiment.training.initial_weights
    assert (begun.file, begun.replace) == (str(prefixed), {"^module[.]": ""})


@pytest.mark.slow
def test_the_commands(experiment, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(experiment.to_toml())
    train(experiment, Path("run"))
    assert main(["weights", "save", "run", "w.safetensors"]) == 0
    said = capsys.readouterr().out
    assert said == "w.safetensors: 8 tensors, features.0.weight to classifier.0.bias\n"
    assert main(["weights", "load", "small.toml", "w.safetensors", "--out", "again"]) == 0
    assert "jcnn train again --resume" in capsys.readouterr().out
    results = []
    for folder in ("run", "again"):
        assert main(["evaluate", folder, "--json"]) == 0
        results.append(json.loads(capsys.readouterr().out)["loss"])
    assert results[0] == results[1]
    Path("w.safetensors").write_bytes(b"")
    assert main(["weights", "load", "small.toml", "w.safetensors"]) == 2
    assert "w.safetensors is no intact" in capsys.readouterr().err
    assert main(["weights", "save", "none", "w.safetensors"]) == 2
    assert "none" in capsys.readouterr().err
