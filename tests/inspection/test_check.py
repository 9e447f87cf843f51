"""``jcnn check``: passes on right rules, and names the operation on wrong ones."""

import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import jax
import numpy as np
import pytest
from PIL import Image

from jcnn import cli
from jcnn.config import load_experiment
from jcnn.inspection import check_model, print_check, random_batch, real_batch
from jcnn.inspection.check import ModelCheck
from jcnn.layers import BatchNorm, Dense, GlobalAveragePool, Layer, Model, Residual
from jcnn.losses import SoftmaxCrossEntropy
from jcnn.proof.comparison import Report, Tolerance, compare
from tests.mutation.reloading import replaced
from tests.mutation.table import mutants
from tests.small import LAYERS

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.toml"))
LINEAR = """
[data]
name = "digits"
[optimizer]
name = "sgd"
learning_rate = 0.1
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
features = 10
"""
SMALL = f"""
[data]
name = "digits"
[optimizer]
name = "sgd"
learning_rate = 0.1
{LAYERS}"""


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return load_experiment(path)


def check(experiment, **options):
    return check_model(experiment, *random_batch(experiment, 2), samples=8, **options)


@pytest.mark.slow
def test_every_tensor_meets_every_oracle(experiment):
    result = check(experiment)
    assert result.passed, str(result.model)
    tensors = ["conv_1.b", "conv_1.w", "dense_1.b", "dense_1.w", "input"]
    assert {(row.tensor, row.against) for row in result.model.rows} == {
        (tensor, against)
        for tensor in tensors
        for against in ("jax.grad", "second order", "differences")
    }
    called = [call.op for call, _ in result.operations]
    assert called == ["convolve", "relu_max_pool", "dense", "softmax_cross_entropy"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "new", "op"),
    [
        ("ops/convolution.py", "1.01 * dw", "convolve"),
        ("ops/max_pooling.py", "1.01 * _scatter", "relu_max_pool"),
    ],
)
def test_a_wrong_rule_is_named(experiment, file, new, op):
    chosen = next(m for m in mutants().values() if m.file == file and new in m.new)
    with replaced(file, chosen.source()) as ops:
        result = check(experiment, ops=ops)
    assert not result.passed
    assert result.wrong is not None
    assert result.wrong.op == op
    assert result.to_dict()["wrong"] == op


def test_the_table_counts_what_is_left_out_and_fails_nothing_that_shows_nothing(capsys):
    found = np.array([1.0, 2.0])
    rows = [
        compare(tensor, "differences", found, np.ma.array(found, mask=mask), Tolerance(0, 0))
        for tensor, mask in (("part", [True, False]), ("none", [True, True]))
    ]
    print_check(ModelCheck((), Report(tuple(rows))))
    said = capsys.readouterr().out
    part, none = (line.split() for line in said.splitlines() if " differences " in line)
    assert (part[0], none[0]) == ("ok", "-")
    assert "1, 1 at kinks left out" in " ".join(part)
    assert "differences show nothing of none: all at kinks; try --random-batch" in said
    assert "FAIL" not in said


def test_a_real_batch_is_chosen_by_the_seed(experiment):
    first, again = real_batch(experiment, 3), real_batch(experiment, 3)
    assert first[0].shape == (3, 8, 8, 1)
    np.testing.assert_array_equal(first[0], again[0])


SMALLER = 'name = "digits"\ntrain_count = 10'
PHOTOS = 'name = "image_folder"\nfolder = "photos"\nclasses = 10\nimage_size = 8\nresize = 8'


@pytest.fixture
def photos(tmp_path):
    """A folder of ten classes: an image of each for training, and one for the test."""
    for split, k in itertools.product(("train", "test"), range(10)):
        file = tmp_path / "photos" / split / str(k) / "0.png"
        file.parent.mkdir(parents=True)
        Image.new("RGB", (8, 8), (20 * k, 0, 0)).save(file)


@pytest.mark.parametrize("data", [PHOTOS, SMALLER], ids=["folder", "arrays"])
def test_a_batch_larger_than_the_data_is_refused_by_its_own_count(data, photos, tmp_path, capsys):
    """By what the command asks for; the experiment's own batch fits."""
    path = tmp_path / "a.toml"
    path.write_text(f"training.batch_size = 2\n{SMALL}".replace('name = "digits"', data))
    name = data.split('"')[1]
    for count, options in ((32, ["--rounding"]), (11, ["--batch-size", "11"])):
        assert cli.main(["check", str(path), *options]) == 2
        assert capsys.readouterr().err == (
            f"jcnn: a batch of {count} was asked for, and data set '{name}' has 10 training "
            "examples (--batch-size)\n"
        )


@pytest.mark.slow
def test_the_command_prints_one_json_object(tmp_path, capsys):
    path = tmp_path / "small.toml"
    path.write_text(LINEAR)
    status = cli.main(["check", str(path), "--json", "--samples", "2", "--batch-size", "1"])
    printed = json.loads(capsys.readouterr().out)
    assert status == 0
    assert printed["passed"] is True
    assert {"tensor", "against", "absolute_error", "worst", "passed"} <= printed["rows"][0].keys()


def test_the_command_ends_with_one_when_a_gradient_is_wrong(tmp_path, capsys, monkeypatch):
    path = tmp_path / "small.toml"
    path.write_text(LINEAR)
    ordinary = jax.nn.one_hot

    def wrong(labels, classes, **options):  # the reference's labels, moved on by one
        return ordinary((labels + 1) % classes, classes, **options)

    monkeypatch.setattr("jcnn.reference.losses.jax.nn.one_hot", wrong)
    status = cli.main(["check", str(path), "--samples", "1", "--batch-size", "1"])
    assert status == 1
    assert "the rule of softmax_cross_entropy is wrong" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_passes(path):
    experiment = load_experiment(path)
    if experiment.model.cost(experiment.input_shape).flops > 2e7:
        pytest.skip("too large for a test: run `jcnn check --random-batch --samples 20` on it")
    result = check_model(experiment, *random_batch(experiment, 2), samples=4)
    assert result.passed, str(result.wrong or result.model)


class Swish(Layer):
    """A layer whose pullback is ``factor`` times too large, and a function that JAX has."""

    type: Literal["swish"] = "swish"
    factor: float = 1.0

    def apply(self, params, state, x, context):
        def value(x):
            return x * jax.nn.sigmoid(x)

        @jax.custom_vjp
        def swish(x):
            return value(x)

        swish.defvjp(
            lambda x: (swish(x), x), lambda x, dy: (self.factor * jax.vjp(value, x)[1](dy)[0],)
        )
        return jax.nn.relu6(jax.jit(swish)(x) + 3), state


def checked(*layers, weight=1.0, **options):
    """A small model of these layers, on noise, whose loss is multiplied by ``weight``."""
    experiment = SimpleNamespace(
        model=Model((*layers, GlobalAveragePool(), Dense(features=3))),
        loss=SoftmaxCrossEntropy(class_weights=(weight,) * 3),
        seed=0, input_shape=(5, 4, 2), class_count=3,
    )  # fmt: skip
    return check_model(experiment, *random_batch(experiment, 2), samples=4, **options)


def test_a_layer_that_brings_its_own_rule_is_named(capsys):
    result = checked(Residual.model_construct(layers=(Swish(),), shortcut=()))
    assert result.passed, str(result.model)
    (note,) = result.to_dict()["notes"]
    assert note.startswith("residual_1.swish_1: swish has a gradient rule of its own")
    print_check(result)
    assert "residual_1.swish_1: swish" in capsys.readouterr().out
    assert checked(BatchNorm()).to_dict()["notes"] == []


def test_a_gradient_that_is_zero_in_place_of_a_small_one_fails():
    """Differences alone can tell: the rule stands in the reference too."""
    result = checked(Swish(factor=0), weight=1e-3)
    largest = max(row.absolute_error for row in result.model.rows if row.tensor == "input")
    assert 0 < largest < 1e-5
    failed = {(row.tensor, row.against) for row in result.model.rows if not row.passed}
    assert failed == {("input", "differences")}
    assert result.wrong is None


def test_operations_that_evaluation_alone_calls_are_checked():
    result = checked(BatchNorm())
    called = [call.op for call, _ in result.operations]
    assert called.index("batch_norm") < called.index("batch_norm_inference")
    assert result.passed, str(result.model)


def test_a_check_of_nothing_does_not_pass(capsys):
    result = checked(BatchNorm())
    nothing = type(result)((), type(result.model)(()))
    assert not nothing.passed
    print_check(nothing)
    assert "nothing is shown" in capsys.readouterr().out


def test_what_rounding_leaves_of_a_loss_near_zero_fails_nothing(tmp_path):
    """Of a network that is certain: the loss is what is left of logits a billion times as large."""
    path = tmp_path / "linear.toml"
    path.write_text(LINEAR)
    experiment = load_experiment(path)
    x, _ = random_batch(experiment, 4)
    w = np.random.default_rng(1).standard_normal((64, 10))
    logits = x.reshape(4, -1) @ w
    ordered = np.sort(logits)
    w *= 25 / (ordered[:, -1] - ordered[:, -2]).min()
    params = {"dense_1": {"w": w, "b": np.zeros(10)}}
    result = check_model(experiment, x, logits.argmax(1), params=params, state={}, samples=50)
    assert result.passed, str(result.model)
    assert all(row.left_out < row.elements for row in result.model.rows)
