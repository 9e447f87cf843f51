"""``jcnn bench --plan``: the lowering of every layer and pass."""

import json
from pathlib import Path

import pytest

from jcnn.benchmark import plan, winograd_allowed
from jcnn.cli import main
from jcnn.config import load_experiment

CONFIGS = Path(__file__).parents[2] / "configs"


def test_plan_names_a_lowering_for_every_pass_but_the_first_input_gradient():
    rows = plan(load_experiment(CONFIGS / "bench_residual.toml"), "cpu")
    passes: dict[str, list[str]] = {}
    for row in rows:
        passes.setdefault(row["layer"], []).append(row["pass"])
        assert row["lowering"]
        assert row["why"]
    assert passes["conv_1"] == ["forward", "kernel gradient"]
    assert passes["residual_1.layers.conv_1"] == ["forward", "input gradient", "kernel gradient"]
    assert passes["residual_2.shortcut.conv_1"] == ["forward", "input gradient", "kernel gradient"]
    assert passes["relu_max_pool_1"] == ["forward", "input gradient"]


def passes_of(text: str) -> dict[str, list[str]]:
    Path("changed.toml").write_text(text)
    found: dict[str, list[str]] = {}
    for row in plan(load_experiment("changed.toml"), "gpu"):
        found.setdefault(row["layer"], []).append(row["pass"])
    return found


def test_plan_leaves_out_what_a_frozen_layer_does_not_compute(config):
    text = Path(config).read_text()
    rate = "learning_rate = 0.1\nrates = {conv_2 = 0.0}"
    text = text.replace("learning_rate = 0.1", rate)
    second = '[[layers]]\ntype = "conv"\nname = "conv_2"\nfeatures = 2\nwindow = 3\n'
    behind = text.replace('[[layers]]\ntype = "relu_max', f'{second}[[layers]]\ntype = "relu_max')
    assert passes_of(behind) == {
        "conv_1": ["forward", "kernel gradient"],
        "conv_2": ["forward", "input gradient"],
        "relu_max_pool_1": ["forward", "input gradient"],
    }
    first = text.replace('type = "conv"', 'type = "conv"\nname = "conv_2"')
    assert passes_of(first) == {"conv_2": ["forward"], "relu_max_pool_1": ["forward"]}


@pytest.mark.parametrize("bias", ["true", "false"])
def test_plan_of_a_layer_behind_nothing_that_learns_has_no_input_gradient(config, bias):
    before = f"""[[layers]]
type = "pad"
padding = 1
mode = "reflect"
[[layers]]
type = "patch_whitening"
bias = {bias}
"""
    text = Path(config).read_text()
    found = passes_of(text.replace("[[layers]]", f"{before}[[layers]]", 1))
    assert found["patch_whitening_1"] == ["forward"]  # its bias may learn, its kernel does not
    gradients = ["input gradient"] if bias == "true" else []
    assert found["conv_1"] == ["forward", *gradients, "kernel gradient"]


def test_plan_follows_platform_and_switch():
    experiment = load_experiment(CONFIGS / "bench_residual.toml")
    convolutions = [r for r in plan(experiment, "gpu") if "conv" in r["layer"]]
    assert {row["lowering"] for row in convolutions} == {"xla"}
    assert "winograd" in {row["lowering"] for row in plan(experiment, "cpu")}
    with winograd_allowed(False):
        assert "winograd" not in {row["lowering"] for row in plan(experiment, "cpu")}


def test_plan_of_transposed_and_grouped_convolutions(config):
    text = (
        Path(config)
        .read_text()
        .replace('type = "relu_max_pool"\nwindow = 2', "")
        .replace(
            "[[layers]]\n\n",
            '[[layers]]\ntype = "conv_transpose"\nfeatures = 16\nwindow = 4\nstrides = 2\n'
            '[[layers]]\ntype = "conv"\nfeatures = 16\nwindow = 3\ngroups = 2\n',
        )
    )
    Path(config).write_text(text)
    rows = [r for r in plan(load_experiment(config), "cpu") if r["layer"] != "conv_1"]
    assert [row["layer"] for row in rows] == ["conv_transpose_1"] * 3 + ["conv_2"] * 3
    assert rows[3]["lowering"].endswith("a group at a time")


def test_command_shows_the_plan(config, capsys):
    assert main(["bench", config, "--plan"]) == 0
    out = capsys.readouterr().out
    assert "kernel gradient" in out
    assert "relu_max_pool_1" in out
    assert main(["bench", config, "--plan", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["layer"] == "conv_1"
