"""Training begins with weights of elsewhere: other heads, other names, other dtypes."""

from __future__ import annotations

import subprocess
import sys

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jcnn import ops
from jcnn.errors import UserError
from jcnn.layers import Context
from jcnn.training import Step, load_trained, load_weights, save_weights, train
from jcnn.training.weight_files import initial_weights
from jcnn.weights.names import check_file

# They start processes, train or compile much.
pytestmark = pytest.mark.slow

NETWORK: list[dict[str, object]] = [
    {"type": "conv", "features": 3, "window": 3},
    {"type": "relu"},
    {"type": "flatten"},
    {"type": "dense", "features": 6},
    {"type": "dense", "features": 10},
]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Weights of a network of this kind whose last layer has four outputs, as a file."""
    rng = np.random.default_rng(0)
    shapes = {
        "features.0.weight": (3, 1, 3, 3),
        "features.0.bias": (3,),
        "classifier.0.weight": (6, 108),
        "classifier.0.bias": (6,),
        "classifier.1.weight": (4, 6),
        "classifier.1.bias": (4,),
    }
    file = tmp_path_factory.mktemp("weights") / "w.safetensors"
    # numbers that half precision has exactly
    save_file({n: rng.integers(-8, 9, s).astype(np.float32) / 8 for n, s in shapes.items()}, file)
    return file


def experiment(tiny, **weights):
    return tiny({"layers": NETWORK, "training.initial_weights": weights})


@pytest.mark.slow
def test_another_head_is_ignored_and_drawn(tiny, written):
    chosen = experiment(tiny, file=str(written), ignore=["classifier.1.*"])
    params, _ = initial_weights(chosen)
    drawn, _ = chosen.model.init(jax.random.key(0), chosen.input_shape)
    theirs = load_file(written)
    np.testing.assert_array_equal(params["conv_1"]["b"], theirs["features.0.bias"])
    np.testing.assert_array_equal(params["dense_1"]["b"], theirs["classifier.0.bias"])
    assert params["dense_2"]["w"].shape == drawn["dense_2"]["w"].shape == (6, 10)
    assert np.ptp(params["dense_2"]["w"]) > 0
    again, _ = initial_weights(chosen)
    np.testing.assert_array_equal(params["dense_2"]["w"], again["dense_2"]["w"])


def test_a_head_that_is_not_ignored_is_refused(tiny, written):
    with pytest.raises(
        UserError, match=r"'classifier\.1\.weight'.* has the shape \[4, 6\]: expected"
    ):
        initial_weights(experiment(tiny, file=str(written)))


def test_a_network_is_fine_tuned_in_one_go(tiny, written, tmp_path):
    """The body is frozen and keeps the file's bits; the head, drawn anew, learns."""
    keys = {
        "layers": NETWORK,
        "training.initial_weights": {"file": str(written), "ignore": ["classifier.1.*"]},
        "optimizer.rates": {"conv_1": 0.0, "dense_1": 0.0},
        "training.epochs": 1,
    }
    train(tiny(keys), tmp_path / "run")
    save_weights(tmp_path / "run", tmp_path / "after.safetensors")
    before, after = load_file(written), load_file(tmp_path / "after.safetensors")
    for name in ("features.0.weight", "features.0.bias", "classifier.0.weight"):
        np.testing.assert_array_equal(after[name], before[name])
    assert after["classifier.1.weight"].shape == (10, 6)


WHITENED = [
    {"type": "patch_whitening"},
    {"type": "global_average_pool"},
    {"type": "dense", "features": 10},
]


def whitened(tiny, tmp_path, ignore):
    """An experiment that begins with a run's weights, but for what is ignored, and those."""
    first = {"layers": WHITENED, "training.epochs": 1, "data.train_count": 40}
    train(tiny(first), tmp_path / "first")
    save_weights(tmp_path / "first", tmp_path / "w.safetensors")
    named = {"file": str(tmp_path / "w.safetensors"), "ignore": ignore}
    keys = {**first, "data.train_count": 300, "training.initial_weights": named}
    return tiny(keys), load_trained(tmp_path / "first").state.state


@pytest.mark.parametrize("ignore", ["features.0.*", "classifier.*"])
def test_whitening_that_is_ignored_is_set_from_the_training_images(tiny, tmp_path, ignore):
    chosen, before = whitened(tiny, tmp_path, [ignore])
    train(chosen, tmp_path / "run")
    layer, x = chosen.layers[0], chosen.data.load().train.x
    drawn = layer.init(jax.random.key(0), x.shape[1:])
    set_anew = {"patch_whitening_1": layer.calibrate(*drawn, x, Context(ops))}
    expected = set_anew if ignore == "features.0.*" else before
    after = load_trained(tmp_path / "run").state.state
    jax.tree.map(np.testing.assert_array_equal, after, expected)


def test_whitening_that_is_ignored_where_no_images_are_read_is_refused(tiny, tmp_path):
    chosen, _ = whitened(tiny, tmp_path, ["features.*"])
    with pytest.raises(UserError, match=r"'features.0.weight' of layer 'patch_whitening_1' is set"):
        load_weights(chosen, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("decay", [[], [{"name": "add_decayed_weights", "weight_decay": 0.1}]])
def test_frozen_layers_add_nothing_to_the_norm_that_is_clipped(tiny, decay):
    """The others take the step of exactly that length."""
    clipping = {"name": "clip_by_global_norm", "max_norm": 1e-3}
    optimizer = {"name": "sgd", "learning_rate": 1.0, "before": [*decay, clipping]}
    keys = {"layers": NETWORK, "optimizer": {**optimizer, "rates": {"dense_*": 0.0}}}
    chosen = tiny(keys)
    data, step = chosen.data.load().train, Step(chosen)
    before = step.init()
    after, _ = jax.jit(step)(before, data.x[:32], data.y[:32], jax.random.key(0))
    moved = jax.tree.map(lambda new, old: np.asarray(new - old), after.params, before.params)
    assert not any(map(np.any, jax.tree.leaves((moved["dense_1"], moved["dense_2"]))))
    length = np.sqrt(sum((own**2).sum() for own in jax.tree.leaves(moved["conv_1"])))
    assert length == pytest.approx(1e-3, rel=1e-3)


def test_names_with_a_prefix_are_answered_and_replaced(tiny, written, tmp_path):
    prefixed = tmp_path / "p.safetensors"
    save_file({f"module.{name}": array for name, array in load_file(written).items()}, prefixed)
    ignore = ["classifier.1.*"]
    with pytest.raises(
        UserError, match=r'replace = \{"\^module\[\.\]" = ""\} takes the prefix away'
    ):
        initial_weights(experiment(tiny, file=str(prefixed), ignore=ignore))
    replaced = experiment(tiny, file=str(prefixed), ignore=ignore, replace={"^module[.]": ""})
    plain = experiment(tiny, file=str(written), ignore=ignore)
    one, two = (jax.tree.leaves(initial_weights(e)) for e in (replaced, plain))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_a_pattern_that_fits_nothing_is_refused(tiny, written):
    message = r"ignore: 'clasifier\.\*' fits no tensor .*did you mean 'classifier"
    with pytest.raises(UserError, match=message):
        initial_weights(experiment(tiny, file=str(written), ignore=["clasifier.*"]))


@pytest.mark.parametrize(
    ("replace", "message"),
    [
        ({"(": ""}, r"replace: '\(' with '' is no regular expression"),
        ({"features": r"\g<layers>"}, r"'features' with '.*' is no regular .*unknown group name"),
        ({"a{9999999999}": ""}, r"is no regular expression .*repetition number is too large"),
        ({"weight|bias": "x"}, r"makes 'classifier\.0\.x' of two tensors"),
    ],
)
def test_a_replacement_that_cannot_be_is_refused(tiny, written, replace, message):
    with pytest.raises(UserError, match=message):
        initial_weights(experiment(tiny, file=str(written), replace=replace))


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float64, ml_dtypes.bfloat16], ids=lambda d: d.__name__
)
def test_other_floating_dtypes_are_converted(tiny, written, tmp_path, dtype):
    file = tmp_path / "other.safetensors"
    save_file({name: array.astype(dtype) for name, array in load_file(written).items()}, file)
    ignore = ["classifier.1.*"]
    found = initial_weights(experiment(tiny, file=str(file), ignore=ignore))
    expected = initial_weights(experiment(tiny, file=str(written), ignore=ignore))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_weights_that_are_no_numbers_are_refused(tiny, written, tmp_path, value):
    tensors = {name: array.astype(np.float64) for name, array in load_file(written).items()}
    tensors["features.0.bias"][1] = value
    save_file(tensors, tmp_path / "bad.safetensors")
    file = str(tmp_path / "bad.safetensors")
    chosen = experiment(tiny, file=file, ignore=["classifier.1.*"])
    with pytest.raises(UserError, match=r"'features\.0\.bias'.* holds .* in 1 of 3 places"):
        initial_weights(chosen)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.pt", r"another format.*torch\.load\('.*model\.pt'"),
        ("model.ckpt", r"another format.*torch\.load"),
        ("arrays.npz", r"another format.*numpy\.load"),
        ("model.h5", "another format: expected a .safetensors file"),
        ("none.safetensors", "does not exist"),
    ],
)
def test_other_formats_say_how_they_are_converted(tiny, tmp_path, name, message):
    if not name.startswith("none"):
        (tmp_path / name).write_bytes(b"?")
    with pytest.raises(UserError, match=message):
        initial_weights(experiment(tiny, file=str(tmp_path / name)))


def test_an_address_is_no_file(tiny):
    with pytest.raises(UserError, match="is an address: expected a file; download it first"):
        initial_weights(experiment(tiny, file="https://example.org/w.safetensors"))


def test_a_conversion_that_is_shown_converts(tmp_path):
    """The command for .npz, run as it stands."""
    np.savez(tmp_path / "a.npz", w=np.arange(3.0))
    with pytest.raises(UserError) as raised:
        check_file(tmp_path / "a.npz")
    command = str(raised.value).partition("convert it with python")[2]
    subprocess.run(f"{sys.executable}{command}", shell=True, check=True, cwd=tmp_path)
    assert load_file(tmp_path / "weights.safetensors")["w"].tolist() == [0, 1, 2]
