"""``jcnn scale``: what is counted is what runs; what is predicted follows from it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jcnn import load_experiment, scaling
from jcnn.benchmark.steps import training_flops
from jcnn.cli import main
from jcnn.errors import UserError
from jcnn.scaling import chip_of, compile_step, devices_for, hlo
from tests.scaling.counted import products
from tests.small import CONFIG

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.toml"
    drops = 'type = "dropout"\ndrop_rate = 1e-6\n[[layers]]\ntype = "flatten"'  # takes a key
    text = CONFIG.replace('type = "flatten"', drops)
    path.write_text(text.replace("epochs = 2", "epochs = 2\nbatch_size = 16"))
    return str(path)


@pytest.mark.slow
def test_figures_are_those_of_the_program_that_runs_on_1_2_4_and_8_devices(config):
    ended = subprocess.run(
        [sys.executable, "-m", "tests.scaling.counted", config],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    rows = json.loads(ended.stdout)
    for count, row in rows.items():
        assert row["products"] == row["products expected"], count
        assert row["flops"] >= row["products"]
        assert row["arguments"] == row["arguments held"]
        assert row["exchanged"] == row["exchanged expected"]
        assert row["kinds"] == (["all-reduce"] if count != "1" else [])
        assert row["loss"] == pytest.approx(rows["1"]["loss"], rel=1e-5)


FROZEN = """
[data]
name = "digits"
[optimizer]
name = "sgd"
learning_rate = 0.1
{rates}
[training]
batch_size = 4
[[layers]]
type = "pad"
padding = 1
mode = "reflect"
{first}
[[layers]]
type = "conv"
features = 2
window = 3
padding = "SAME"
[[layers]]
type = "residual"
layers = [
    {{type = "conv", features = 2, window = 3, padding = "SAME"}},
    {{type = "conv", features = 2, window = 3, padding = "SAME"}},
]
[[layers]]
type = "conv"
features = 2
window = 3
padding = "SAME"
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
features = 10
"""
WHITENING = '[[layers]]\ntype = "patch_whitening"\nwindow = 2\n'


@pytest.mark.slow
@pytest.mark.parametrize("first", ["", WHITENING, f"{WHITENING}bias = false"])
@pytest.mark.parametrize(
    "rates",
    ["", "conv_1 = 0", "residual_1 = 0", "dense_1 = 0", 'dense_1 = 1, "*_1" = 0'],
)
def test_arithmetic_of_a_step_is_that_of_the_layers_that_learn(tmp_path, rates, first):
    path = tmp_path / "frozen.toml"
    path.write_text(FROZEN.format(rates=f"rates = {{{rates}}}", first=first))
    experiment = load_experiment(path)
    program, _ = compile_step(experiment, devices_for(chip_of("h100"), 1)[0], platform="gpu")
    assert products(program.text) == training_flops(experiment) * 4


def predicted(config, *options):
    return ["scale", config, "--chip", "h100", "--devices", "2", *options]


@pytest.mark.slow
def test_command_shows_and_draws_how_a_step_scales(config, tmp_path, capsys):
    plot = tmp_path / "scaling.png"
    options = ("--json", "--plot", str(plot), "--examples", "1600")
    assert main(predicted(config, *options)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["compiler"] == "cpu"
    one, strong, weak = found["rows"]
    assert (one["devices"], strong["batch_size"], weak["batch_size"]) == (1, 16, 32)
    assert one["efficiency"] == 1
    assert strong["flops"] < one["flops"] < 1.05 * weak["flops"]
    assert weak["limit"] in weak["seconds"]
    assert weak["step_seconds"] == pytest.approx(
        max(weak["seconds"]["arithmetic"], weak["seconds"]["memory"]) + weak["seconds"]["links"]
    )
    assert weak["epochs_per_hour"] == pytest.approx(3600 * 32 / weak["step_seconds"] / 1600)
    assert plot.stat().st_size > 1000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--devices", "8,none"], "--devices '8,none': expected whole numbers"),
        (["--devices", "0"], "--devices '0': expected whole numbers"),
        (["--chip", "v9"], "--chip 'v9': expected one of v5e, v5p, h100"),
        (["--devices", "6", "--chip", "v5e"], "--devices 6: expected the chips of a slice of v5e"),
        (["--devices", "300", "--chip", "v5e"], "--devices 300: expected a multiple of 256"),
        (["--devices", "12", "--chip", "h100"], "--devices 12: expected a multiple of 8"),
        (["--plot", "picture.none"], "--plot picture.none: expected a name that ends in one of"),
    ],
)
def test_what_can_not_be_is_said_in_a_sentence(options, said, config, capsys):
    assert main(["scale", config, *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(f"jcnn: {said}")


MESHED = """
name = "meshed"
[data]
name = "digits"
[optimizer]
name = "sgd"
learning_rate = 0.1
[training]
batch_size = 2
[[layers]]
type = "conv"
features = 2
window = 3
padding = "SAME"
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
features = 16
[[layers]]
type = "relu"
[[layers]]
type = "dense"
features = 10
"""


@pytest.fixture
def meshed(tmp_path):
    path = tmp_path / "meshed.toml"
    path.write_text(MESHED)
    return lambda **mesh: load_experiment(path, {"mesh": mesh})


@pytest.mark.slow
@pytest.mark.parametrize("axis", ["model", "space"])
def test_every_mesh_is_predicted_against_one_device_without(axis, meshed):
    found = scaling.predict(meshed(**{axis: 2}), chip_of("h100"), (2, 4))
    rows = [(row.scaling, row.devices, row.batch_size) for row in found.rows]
    # over four devices in pairs a batch of two can be split where each image is, too
    strong = [("strong", 4, 2)] if axis == "space" else []
    assert rows == [
        ("strong", 1, 2), ("strong", 2, 2), ("weak", 2, 4), *strong, ("weak", 4, 8)
    ]  # fmt: skip
    assert ("No strong scaling over 4" in " ".join(found.notes)) == (axis == "model")
    assert found.rows[0].collectives == {}
    if axis == "model":
        assert {"all-gather", "all-reduce"} <= found.rows[-1].collectives.keys()


@pytest.mark.parametrize(
    ("mesh", "said"),
    [
        ({"data": 1}, "mesh is one device, and there are 2 devices: expected a mesh of 2 devices"),
        ({"data": 4}, "mesh is data 4, and there are 2 devices: expected a mesh of 2 devices"),
        ({"model": 4}, "mesh is data -1 x model 4, and there are 2 devices"),
    ],
    ids=["part", "more", "rest"],
)
def test_a_mesh_that_does_not_fill_the_devices_is_refused_before_anything_is_compiled(
    mesh, said, meshed
):
    compiled = []
    with pytest.raises(UserError, match=said):
        scaling.predict(meshed(**mesh), chip_of("h100"), (2, 8), report=compiled.append)
    assert compiled == []


def test_a_collective_is_of_its_own_group():
    """Of pairs next to each other, of chips on two islands, and of some that no slice has."""
    h100, v5e, size = chip_of("h100"), chip_of("v5e"), 256e6
    assert h100.exchange_seconds("all-reduce", size, 16, (0, 1)) == pytest.approx(
        2 * size / 2 / 450e9 + 2 * 5e-6
    )
    assert h100.exchange_seconds("all-reduce", size, 16, (0, 8)) == pytest.approx(
        2 * size / 2 / 50e9 + 2 * 5e-6
    )
    assert h100.exchange_seconds("all-gather", size, 16, tuple(range(16))) == pytest.approx(
        h100.exchange_seconds("all-gather", size, 16)
    )
    assert v5e.exchange_seconds("all-gather", size, 64, tuple(range(8))) == pytest.approx(
        v5e.exchange_seconds("all-gather", size, 8)
    )
    assert v5e.exchange_seconds("all-reduce", size, 64, (0, 1)) == pytest.approx(
        2 * size / 2 / 50e9 + 2e-6
    )


def test_slices_of_chips():
    v5e, v5p = scaling.chip_of("v5e"), scaling.chip_of("v5p")
    assert [v5e.torus(n) for n in (1, 4, 8, 64, 256)] == [(1, 1), (2, 2), (2, 4), (8, 8), (16, 16)]
    assert v5e.islands(512) == (2, (16, 16))
    assert [v5p.torus(n) for n in (1, 4, 8, 32, 512)] == [
        (1, 1, 1), (2, 2, 1), (2, 2, 2), (2, 4, 4), (8, 8, 8),
    ]  # fmt: skip
    with pytest.raises(UserError, match="a power of two from 4 on"):
        v5p.torus(2)


def test_an_all_reduce_takes_what_the_links_allow():
    v5e, h100 = scaling.chip_of("v5e"), scaling.chip_of("h100")
    size = 256e6
    assert v5e.all_reduce_seconds(size, 1) == 0
    # a pod adds up 51.2 TB/s: each of 256 chips sends 200 GB/s, and each byte twice
    assert v5e.all_reduce_seconds(size, 256) == pytest.approx(2 * size * 255 / 256 / 200e9 + 32e-6)
    assert v5e.all_reduce_seconds(size, 4) == pytest.approx(2 * size * 3 / 4 / 100e9 + 4e-6)
    within = h100.all_reduce_seconds(size, 8)
    assert h100.all_reduce_seconds(size, 64) == pytest.approx(
        within + 2 * size / 8 * 7 / 8 / 50e9 + 2 * 3 * 5e-6
    )


def test_a_reduce_scatter_and_an_all_gather_are_an_all_reduce():
    v5e = scaling.chip_of("v5e")
    for chips in (1, 8, 512):
        whole, *halves = (
            v5e.exchange_seconds(kind, 256e6, chips)
            for kind in ("all-reduce", "reduce-scatter", "all-gather")
        )
        assert sum(halves) == pytest.approx(whole)
    assert v5e.exchange_seconds("collective-permute", 50e6, 8) == pytest.approx(1e-3 + 1e-6)
    assert v5e.exchange_seconds("collective-permute", 50e6, 1) == 0


def test_asynchronous_collectives_count_once():
    text = """
ENTRY %main (a: f32[8]) -> f32[32] {
  %a = f32[8]{0} parameter(0)
  %begun = (f32[8]{0}, f32[32]{0}) all-gather-start(%a), replica_groups=[2,4]<=[8], dimensions={0}
  %begun.2 = f32[8]{0} all-reduce-start(%a), to_apply=%sum
  %summed = f32[8]{0} all-reduce-done(%begun.2)
  ROOT %gathered = f32[32]{0} all-gather-done(%begun)
}
"""
    assert hlo.collectives(text) == (
        hlo.Collective("all-gather", 128, (0, 1, 2, 3)),
        hlo.Collective("all-reduce", 32),
    )
