"""``jcnn bench --plan``: the lowering of every layer and pass."""

import json
from pathlib import Path

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
