"""``jcnn check --exact``: the operations of a network, at its own shapes, on whole numbers."""

import json
import re
from types import SimpleNamespace

import jax.numpy as jnp
import pytest

from jcnn import cli, ops
from jcnn.config import load_experiment
from jcnn.inspection.certificate import certify
from jcnn.proof.whole_numbers import SELECTIONS, SUMS

# They start processes, train or compile much.
pytestmark = pytest.mark.slow

NETWORK = """
[data]
name = "digits"
[optimizer]
name = "sgd"
learning_rate = 0.1
[training]
batch_size = 16
[[layers]]
type = "conv"
features = 4
window = 3
padding = [[4, 0], [4, 0]]
[[layers]]
type = "residual"
layers = [{ type = "conv", features = 4, window = 3, padding = "SAME" }]
[[layers]]
type = "relu_max_pool"
window = 2
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
features = 10
[[layers]]
type = "sigmoid"
[[layers]]
type = "dense"
features = 10
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "network.toml"
    path.write_text(NETWORK)
    return path


def test_a_certificate_says_what_was_compared_on_which_machine(config, capsys):
    assert cli.main(["check", str(config), "--exact", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] is True
    assert found["batch_size"] == 16
    assert found["left_out"] == ["sigmoid"]
    assert {row["operation"].partition("(")[0] for row in found["rows"]} == {
        "convolve", "relu_max_pool", "dense",
    }  # fmt: skip
    assert {row["program"] for row in found["rows"]} == {"jit", "scan"}
    assert found["elements"] == sum(row["elements"] for row in found["rows"])
    assert 0 < found["chance"] < 0.05
    assert sum(found["shown"].values()) == found["elements"]
    assert {row["chance"] is None for row in found["rows"] if row["shown"] == SELECTIONS} == {True}
    assert {row["chance"] is None for row in found["rows"] if row["shown"] == SUMS} == {False}
    assert found["lowerings"]
    assert {"jcnn", "python", "jax", "jaxlib", "numpy"} <= set(found["versions"])
    assert {"processor", "instructions", "cores"} <= set(found["hardware"])


def test_the_table_ends_with_the_verdict(config, capsys):
    assert cli.main(["check", str(config), "--exact", "--batch-size", "2"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "batch 2; " in output
    assert "so not compared here: sigmoid" in output
    assert "elements is right" in output
    would = "a program that adds up wrong products would pass with a probability of at most"
    (percent,) = re.findall(rf"compared with ==; {would} ([\d.e-]+) %", output)
    chance = certify(load_experiment(config), batch_size=2).chance
    assert chance <= float(percent) / 100 <= 1.1 * chance, "it is a bound, so rounded up"
    assert "selections, compared with == where numbers tie" in output


def test_the_first_element_that_differs_is_named(config):
    left_out = SimpleNamespace(**{name: getattr(ops, name) for name in ops.__all__})
    left_out.dense = lambda x, w, b=None: ops.dense(x.at[3, 2].set(0), w, b)
    certificate = certify(load_experiment(config), ops=left_out)
    assert not certificate.passed
    assert certificate.wrong.operation.startswith("dense(")
    assert certificate.wrong.first.index[0] == 3
    assert certificate.wrong.first.found != certificate.wrong.first.expected


def test_a_wrong_gradient_gives_exit_code_one(config, capsys, monkeypatch):
    monkeypatch.setattr(ops, "relu_max_pool", lambda x, *a, **k: jnp.negative(
        ops.max_pool(-x, *a, **k)))  # fmt: skip
    assert cli.main(["check", str(config), "--exact"]) == 1
    assert "expected" in capsys.readouterr().out


def test_a_network_of_which_nothing_is_compared_does_not_pass(config, monkeypatch, capsys):
    monkeypatch.setattr("jcnn.inspection.certificate.OPERATIONS", {})
    assert cli.main(["check", str(config), "--exact"]) == 1
    said = capsys.readouterr().out
    assert "nothing was compared, so nothing is shown" in said
    assert "every one of" not in said
    assert cli.main(["check", str(config), "--exact", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["passed"], found["rows"]) == (False, [])


def test_a_batch_too_large_for_exactness_is_refused(config, capsys):
    assert cli.main(["check", str(config), "--exact", "--batch-size", "1000000"]) == 2
    assert "--batch-size" in capsys.readouterr().err
