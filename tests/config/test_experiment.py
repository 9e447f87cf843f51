import math
import re
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from jcnn.config import load_experiment, parse_override
from jcnn.errors import UserError

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = """
[data]
name = "digits"

[optimizer]
name = "sgd"
learning_rate = {schedule = "cosine_decay_schedule", init_value = 0.1, decay_steps = "2 epochs"}
momentum = 0.9
before = [{name = "add_decayed_weights", weight_decay = 5e-4, mask = "kernels"}]

[training]
epochs = 2
augment = [{name = "shift", pixels = 1}]

[[layers]]
type = "conv"
features = 4
window = [3, 3]

[[layers]]
type = "residual"
layers = [{type = "conv", features = 4, window = 3, padding = "SAME"}, {type = "relu"}]

[[layers]]
type = "flatten"

[[layers]]
type = "dense"
features = 10
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_config_loads_and_round_trips(path, tmp_path):
    experiment = load_experiment(path)
    copy = tmp_path / "experiment.toml"
    copy.write_text(experiment.to_toml())
    assert load_experiment(copy) == experiment


def test_name_is_the_files_stem_and_defaults_hold(config):
    experiment = load_experiment(config)
    assert experiment.name == "small"
    assert experiment.seed == 0
    assert experiment.training.batch_size == 64
    assert experiment.training.precision == "float32"
    assert experiment.loss.name == "softmax_cross_entropy"


def test_experiment_knows_its_model_input_and_classes(config):
    experiment = load_experiment(config)
    assert experiment.input_shape == (8, 8, 1)
    assert experiment.class_count == 10
    assert experiment.model.shapes(experiment.input_shape)[-1] == (10,)


def test_resolved_form_round_trips_nested_layers_and_schedules(config, tmp_path):
    experiment = load_experiment(
        config, {"training.average_decay": 0.9, "name": 'odd "name" \u2713'}
    )
    copy = tmp_path / "copy.toml"
    copy.write_text(experiment.to_toml(), encoding="utf-8")
    assert load_experiment(copy) == experiment


def test_overrides_take_the_files_place(config):
    overrides = {
        "training.epochs": 5,
        "layers.0.features": 4,
        "layers.0.initializer.name": "glorot_uniform",
        "layers.1.layers.0.correlate": True,
        "loss.name": "mean_squared_error",
        "optimizer.learning_rate.init_value": 0.5,
    }
    experiment = load_experiment(config, overrides)
    assert experiment.training.epochs == 5
    assert experiment.layers[0].initializer.name == "glorot_uniform"
    assert experiment.layers[1].layers[0].correlate
    assert experiment.loss.name == "mean_squared_error"
    assert experiment.optimizer.arguments["learning_rate"]["init_value"] == 0.5


def test_a_key_is_set_of_a_table_that_is_written_as_its_first(config):
    config.write_text(
        config.read_text().replace("[training]", '[training]\ninitial_weights = "w.safetensors"')
    )
    chosen = load_experiment(config, {"training.initial_weights.ignore": ["a.*"]})
    begun = chosen.training.initial_weights
    assert (begun.file, begun.ignore) == ("w.safetensors", ("a.*",))


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("training.epochs=3", ("training.epochs", 3)),
        ("a = 1e-3", ("a", 1e-3)),
        ("optimizer.name=adam", ("optimizer.name", "adam")),
        ('optimizer.name="adam"', ("optimizer.name", "adam")),
        ("layers.0.window=[3, 5]", ("layers.0.window", [3, 5])),
        ("a={name = 'x=y'}", ("a", {"name": "x=y"})),
        ("a=2 epochs", ("a", "2 epochs")),
        ("a=1\nb=2", ("a", "1\nb=2")),
        ("a=true", ("a", True)),
    ],
)
def test_override_is_read_as_toml_or_as_a_bare_string(text, pair):
    assert parse_override(text) == pair


@pytest.mark.parametrize("text", ["training.epochs", "=3", "", "training..epochs=3", ".=3"])
def test_override_without_key_or_value_is_refused(text):
    with pytest.raises(UserError, match="expected key=value"):
        parse_override(text)


MISTAKES = [
    ("layers.0.windw", 3, "unknown key (did you mean 'window'?)"),
    ("layers.1.layers.0.featurs", 3, "unknown key (did you mean 'features'?)"),
    ("training.epoch", 3, "unknown key (did you mean 'epochs'?)"),
    ("sweep.seeds", 3, "[sweep] is read from the file alone"),
    ("trainig.epochs", 3, "trainig: unknown key (did you mean 'training'?)"),
    ("data.nmae", 3, "unknown key (did you mean 'name'?)"),
    ("loss.label_smoothin", 0.1, "unknown key (did you mean 'label_smoothing'?)"),
    ("training.epochs", "ten", "expected an integer, found 'ten'"),
    ("training.epochs", 2.5, "expected an integer, found 2.5"),
    ("training.epochs", True, "expected an integer, found true"),
    ("data.train_count", True, "expected an integer, found true"),
    ("data.train_count", "10", "expected an integer, found '10'"),
    ("training.batch_size", -1, "expected a value greater than 0, found -1"),
    ("training.steps_per_dispatch", 0, 'expected "auto" or a positive integer, found 0'),
    ("training.precision", "half", "expected 'float32', 'bfloat16' or 'float16', found 'half'"),
    ("training.matmul_precision", "bf16", "expected 'bfloat16', 'tensorfloat32' or 'float32'"),
    ("training.average_decay", 1, "expected a value less than 1.0, found 1"),
    ("training.average_decay", math.nan, "expected a finite number, found nan"),
    ("training.average_decay", 1 - 1e-9, "expected a value less than 1.0 (float32), found 0.99999"),
    ("training.max_seconds", 1e-50, "expected at least 1.2e-38 (float32), found 1e-50"),
    ("loss.label_smoothing", math.nan, "expected a finite number, found nan"),
    ("training.augment.0.pixels", 0, "expected a value greater than 0, found 0"),
    ("training.augment.0.name", "shfit", "unknown 'shfit' (did you mean 'shift'?)"),
    *(
        ("name", name, "expected the name of a folder, without slashes, found")
        for name in ("../x", "a/b", "..", "a\\b", "")
    ),
    ("seed", -1, "expected a value of at least 0, found -1"),
    ("data", 3, "expected a table, found 3"),
    ("data.name", "digts", "unknown 'digts' (did you mean 'digits'?)"),
    ("layers", [], "expected a list of at least 1, found []"),
    ("layers.0.features", -4, "expected a value greater than 0, found -4"),
    ("layers.0.features", "4", "expected an integer, found '4'"),
    ("layers.0.type", "covn", "unknown 'covn' (did you mean 'conv'?)"),
    ("layers.0.bias_value", "zero", "expected a number, found 'zero'"),
    ("layers.0.correlate", 1, "expected true or false, found 1"),
    ("layers.0.name", "a.b", "expected a string that matches"),
    ("layers.0.initializer.name", "he_norml", "unknown 'he_norml' (did you mean 'he_normal'?)"),
    ("optimizer.name", "sdg", "unknown 'sdg' (did you mean 'sgd'?)"),
    ("optimizer.momentm", 0.9, "unknown argument of optax.sgd (did you mean 'momentum'?)"),
    ("optimizer.momentum", "high", "expected a number, found 'high'"),
    ("training.initial_weights", "", "expected a string that is not empty, found ''"),
    ("layers.0.features", [True, [1]], "expected an integer, found [true, [1]]"),
    ("layers.0.features", date(2020, 1, 31), "expected an integer, found 2020-01-31"),
    *(
        (key, value, f"expected less than {2**30}, found ")
        for value in (2**30, 10**30, 10**400)
        for key in (
            *("training.accumulate_batches", "training.augment.0.pixels", "layers.0.window"),
            *("layers.0.strides", "layers.0.padding"),
        )
    ),
    ("loss.temperature", 1e300, "expected at most 3.4e+38 (float32), found 1e+300"),
    ("layers.0.padding", [[0, 0], [0, -(10**30)]], f"expected less than {2**30}, found [[0, 0], "),
    ("training.augment.0.fill", "miror", "expected a number or 'mirror', found 'miror'"),
    ("training.augment.0.fill", {"a": 1}, "expected a number or 'mirror', found a table"),
    ("training.steps_per_dispatch", 10**400, 'expected "auto" or a positive integer, found 1000'),
    ("mesh.data", 10**400, f"expected less than {2**30}, found 1000"),
    ("distributed.connect_seconds", 10**400, f"expected less than {2**30}, found 1000"),
    ("name", "n" * 201, "expected the name of a folder, 200 bytes at most, that can be shown, fou"),
    ("training.initial_weights", "caf\udce9", r"expected a string in UTF-8, found 'caf\udce9'"),
    ("name", "a\nb", "that can be shown, found 'a\\nb'"),
    *(
        ("training.initial_weights", path, "expected a path whose names have 255 bytes at most")
        for path in ("w" * 256, "é" * 128, "w/" * 2048, "a\0b")
    ),
    ("optimizer.learning_rate.decay_steps", [3], "expected a number, found [3]"),
    ("optimizer.learning_rate.decay_steps", -1, "expected a value of at least 0, found -1"),
    ("optimizer.learning_rate.init_value", 2**31, "expected less than 2147483648, found 2147"),
]


@pytest.mark.parametrize(("key", "value", "message"), MISTAKES)
def test_mistake_in_an_override_names_the_key_and_what_was_expected(config, key, value, message):
    with pytest.raises(UserError) as caught:
        load_experiment(config, {key: value})
    assert str(caught.value).startswith(f"--set {key}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        ("window = [3, 3]", "windw = 3", "layers.0.windw: unknown key (did you mean 'window'?)"),
        ("window = [3, 3]", "", "layers.0.window: this key is missing"),
        ('type = "flatten"', "", "layers.2.type: this key is missing"),
        ("window = [3, 3]", "window = 9", "layer 1 'conv_1' (conv): window 9x9 is larger than its"),
        ("window = [3, 3]", "window = 9", "; an example of the data is 8x8x1"),
        (
            "features = 10",
            "features = 12",
            "the model's output is 12, and the loss 'softmax_cross_",
        ),
        ("[training]", "[trainig]", "trainig: unknown key (did you mean 'training'?)"),
        ("[training]", "[sweeps]\n[training]", "sweeps: unknown key (did you mean 'sweep'?)"),
        ("[training]", "[sweeps]\n[training]", "tracking, layers, sweep"),
        ('[optimizer]\nname = "sgd"', "[optimizer]", "optimizer.name: this key is missing"),
        ('name = "sgd"', 'nmae = "sgd"', "optimizer.name: this key is missing (found 'nmae')"),
        ('type = "flatten"', 'typ = "flatten"', "layers.2.type: this key is missing (found 'typ')"),
        ('name = "shift"', 'nam = "shift"', "training.augment.0.name: this key is missing (found"),
        ("[[layers]]", "[layers]", "; expected [[layers]], once per layer, found [layers]"),
        (
            "[[layers]]",
            "[optimizer.after]\nname = 'scale'\nstep_size = 1.0\n[[layers]]",
            "optimizer.after: expected [[optimizer.after]], once per entry, found",
        ),
        ("epochs = 2", "epochs = ", "is not valid TOML: Invalid value (at line 12"),
    ],
)
def test_mistake_in_the_file_names_file_and_key(config, written, instead, message):
    config.write_text(SMALL.replace(written, instead, 1))
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        load_experiment(config)
    assert str(caught.value).startswith(str(config))


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("layers.9.features", "layers is a list, whose entries are 0 to 3, not '9'"),
        ("layers.first.features", "layers is a list, whose entries are 0 to 3, not 'first'"),
        ("layers.9", "layers is a list, whose entries are 0 to 3"),
        ("training.epochs.first", "training.epochs is 2, which holds no 'first'"),
        ("training.epochs.first.second", "training.epochs is 2, which holds no 'first'"),
    ],
)
def test_override_of_a_place_that_cannot_be_is_refused(config, key, message):
    with pytest.raises(UserError, match=re.escape(f"--set {key}: {message}")):
        load_experiment(config, {key: 1})


def test_a_single_layer_that_is_written_as_a_table_is_named(config):
    config.write_text(f'{SMALL.partition("[[layers]]")[0]}[layers]\ntype = "flatten"\n')
    with pytest.raises(UserError, match=r"layers: expected \[\[layers\]\], once per layer, found"):
        load_experiment(config)


def test_a_loss_without_a_name_is_the_usual_one(config):
    config.write_text(f"[loss]\nclass_weights = {[2.0] * 10}\n{SMALL}")
    for overrides in ({}, {"loss": {"class_weights": [2.0] * 10}}):
        loss = load_experiment(config, overrides).loss
        assert (loss.name, loss.class_weights) == ("softmax_cross_entropy", (2.0,) * 10)
    with pytest.raises(UserError, match=r"loss\.nmae: unknown key \(did you mean 'name'\?\)"):
        load_experiment(config, {"loss": {"nmae": "mean_squared_error"}})


def test_a_name_without_its_ending_is_suggested_with_it(config, monkeypatch):
    monkeypatch.chdir(config.parent)
    with pytest.raises(UserError, match=r"^small does not exist \(did you mean 'small\.toml'\?\)"):
        load_experiment("small")
    (config.parent / "small").mkdir()
    with pytest.raises(UserError, match=r"^small is a folder \(did you mean 'small\.toml'\?\)"):
        load_experiment("small")
    with pytest.raises(UserError, match="does not exist"):
        load_experiment("n" * 253)


@pytest.mark.parametrize("mean", [[], [0.5], [0.5, 0.5]])
def test_a_list_that_is_too_short_says_how_many_it_needs(config, mean):
    data = {"name": "image_folder", "folder": "none", "classes": 10, "mean": mean}
    expected = re.escape(f"--set data.mean: expected a list of 3, found {mean}")
    with pytest.raises(UserError, match=expected):
        load_experiment(config, {"data": data})


@pytest.mark.parametrize("name", ["mnist", "usps", "fsdd", "cifar10", "image_folder"])
def test_a_folder_of_data_that_no_system_has_is_named_by_its_key(config, name):
    data = {"name": name, "folder": "f" * 300} | ({"classes": 10} if "image" in name else {})
    with pytest.raises(UserError, match=r"--set data\.folder: expected a path whose"):
        load_experiment(config, {"data": data})


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        ({"training.initial_weights.ignore": ["classifier.*"]}, "file"),
        ({"training.initial_weights.replace": {"^a": "b"}}, "file"),
        ({"training.initial_weights.file": "w.safetensors"}, "here"),
        ({"training.initial_weights": {"file": "w.safetensors"}}, "here"),
        ({"training": {"initial_weights": "w.safetensors"}}, "here"),
    ],
)
def test_a_path_is_seen_from_where_it_was_written(config, tmp_path, monkeypatch, overrides, found):
    table = '[training]\ninitial_weights = {file = "w.safetensors"}\n'
    config.write_text(SMALL.replace("[training]\n", table))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    places = {"file": config.parent / "w.safetensors", "here": tmp_path / "here" / "w.safetensors"}
    for place in places.values():
        place.touch()
    experiment = load_experiment(config, overrides)
    assert experiment.training.initial_weights.file == str(places[found])


def test_overrides_may_hold_numbers_of_numpy(config):
    rate = {"schedule": "constant_schedule", "value": np.float32(0.5)}
    overrides = {"training.epochs": np.int64(3), "optimizer.learning_rate": rate}
    experiment = load_experiment(config, {**overrides, "layers.0.window": np.array([2, 2])})
    assert experiment.training.epochs == 3
    assert experiment.layers[0].window == (2, 2)
    assert experiment.optimizer.arguments["learning_rate"]["value"] == 0.5


def test_overrides_do_not_share_the_callers_values(config):
    table = {"name": "sgd", "learning_rate": 0.1}
    load_experiment(config, {"optimizer": table, "optimizer.momentum": 0.5})
    assert table == {"name": "sgd", "learning_rate": 0.1}


def test_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none.toml does not exist"):
        load_experiment(tmp_path / "none.toml")
    with pytest.raises(UserError, match="is a folder"):
        load_experiment(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="is not a text file in UTF-8"):
        load_experiment(tmp_path / "binary.toml")
