"""The precision of products that an experiment asks for reaches every operation of its network."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import pytest

from jcnn.export.output import network
from jcnn.lowering.policy import Policy
from jcnn.training import Step, keys
from jcnn.training.predicting import make_predict

LAYERS = [
    {"type": "conv", "features": 4, "window": 3},
    {"type": "gelu"},
    {"type": "flatten"},
    {"type": "dense", "features": 10},
]
# Every operation of jcnn carries its policy along.
POLICY = re.compile(r"precision=(?:None|'(\w+)'), machine")


def precisions(function, *arguments):
    """The precisions of all operations that a function is traced to, and how many there are."""
    found = [m[1] for m in POLICY.finditer(str(jax.make_jaxpr(function)(*arguments)))]
    return set(found), len(found)


def of_step_and_prediction(experiment):
    step = Step(experiment)
    state = step.init()
    x, y = jnp.zeros((4, 8, 8, 1)), jnp.zeros(4, jnp.int32)
    key = keys.step_key(0, 0)
    made, count = precisions(lambda state: step(state, x, y, key), state)
    predicted, fewer = precisions(make_predict(experiment), state, x)
    assert count > fewer > 1
    return made, predicted


@pytest.mark.parametrize("asked", [None, "float32", "tensorfloat32", "bfloat16"])
@pytest.mark.parametrize("optimizer", ["sgd", "diagonal_levenberg_marquardt"])
def test_of_steps_curvatures_and_predictions(tiny, asked, optimizer):
    table = {"layers": LAYERS, "training.matmul_precision": asked} if asked else {"layers": LAYERS}
    table["optimizer"] = {"name": optimizer, "learning_rate": 0.1}
    if optimizer != "sgd":
        table["optimizer"]["damping"] = 0.1
    made, predicted = of_step_and_prediction(tiny(table))
    assert made == predicted == {asked}


def test_where_nothing_is_asked_jaxs_own_setting_holds(tiny):
    with jax.default_matmul_precision("float32"):
        made, predicted = of_step_and_prediction(tiny({"layers": LAYERS}))
    assert made == predicted == {"float32"}


@pytest.mark.parametrize(
    ("asked", "rounded"),
    [("bfloat16", True), ("BF16_BF16_F32", True), ("tensorfloat32", False), ("float32", False)],
)
def test_the_policy_knows_what_may_be_rounded(asked, rounded):
    with jax.default_matmul_precision(asked):
        assert Policy.current().rounded == rounded


def test_what_is_exported_multiplies_in_float32(tiny):
    experiment = tiny({"training.matmul_precision": "bfloat16"})
    exported = network(experiment, *Step(experiment).init().evaluated).experiment
    assert exported.training.matmul_precision is None
