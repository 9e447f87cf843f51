import json
from pathlib import Path

import pytest

from jcnn.config import load_experiment
from jcnn.inspection.summary import print_summary, summarize

CONFIGS = Path(__file__).parent.parent.parent / "configs"


@pytest.fixture
def mnist():
    return load_experiment(CONFIGS / "mnist.toml")


@pytest.fixture
def residual(tmp_path):
    path = tmp_path / "block.toml"
    path.write_text("""
[data]
name = "digits"
[optimizer]
name = "sgd"
learning_rate = 0.1
[[layers]]
type = "residual"
layers = [{type = "conv", features = 2, window = 3, padding = "SAME"}]
shortcut = [{type = "conv", features = 2, window = 1}]
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
features = 10
""")
    return load_experiment(path)


def test_totals_are_the_sums_of_the_layers(mnist):
    mnist = summarize(mnist)
    for key in ("parameters", "connections", "flops"):
        assert mnist[key] == sum(layer[key] for layer in mnist["layers"])
    assert mnist["units"] == 28 * 28 + sum(layer["units"] for layer in mnist["layers"])


def test_convolution_costs_far_less_than_a_fully_connected_layer(mnist):
    first = summarize(mnist)["layers"][0]
    assert first["name"] == "conv_1"
    assert first["output_shape"] == [24, 24, 32]
    assert first["parameters"] == 25 * 32 + 32
    assert first["fully_connected_parameters"] == (28 * 28 + 1) * 24 * 24 * 32


def test_layer_without_weighted_sums_has_no_fully_connected_counterpart(mnist):
    assert summarize(mnist)["layers"][1]["fully_connected_parameters"] is None


def test_residual_block_shows_its_own_layers(residual):
    block = summarize(residual)["layers"][0]
    assert block["parameters"] == 9 * 2 + 2 + 2 + 2
    assert [row["name"] for row in block["layers"]] == ["conv_1"]
    assert (
        block["parameters"] == block["layers"][0]["parameters"] + block["shortcut"][0]["parameters"]
    )


def test_summary_is_json(mnist, residual):
    for summary in (summarize(mnist), summarize(residual)):
        assert json.loads(json.dumps(summary)) == summary


def test_table_holds_every_figure_uncut(mnist, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    print_summary(summarize(mnist))
    printed, mnist = capsys.readouterr().out, summarize(mnist)
    for layer in mnist["layers"]:
        assert layer["name"] in printed
    assert f"{mnist['layers'][0]['fully_connected_parameters']:,}" in printed
    assert f"{mnist['parameters']:,}" in printed


def test_table_shows_the_layers_of_a_block(residual, capsys):
    print_summary(summarize(residual))
    assert capsys.readouterr().out.count("conv_1") == 2


def test_a_name_is_shown_as_it_is(mnist, capsys):
    """Brackets in it are no markup."""
    print_summary(summarize(mnist) | {"name": "mine [raw] [/b]"})
    assert "mine [raw] [/b]" in capsys.readouterr().out
