import subprocess
import sys
import tomllib

import pytest
from pydantic import TypeAdapter, ValidationError

from jcnn.data import AnyData, Digits, Fsdd, data_folder

ANY = TypeAdapter(AnyData)
MINIMAL = {"image_folder": {"folder": "x", "classes": 3}}
NAMES = ["digits", "mnist", "usps", "fsdd", "cifar10", "image_folder"]


@pytest.mark.parametrize("name", NAMES)
def test_a_data_set_is_chosen_by_its_name_and_its_keys_go_round(name):
    config = ANY.validate_python({"name": name, **MINIMAL.get(name, {})})
    assert config.name == name
    assert ANY.validate_python(config.model_dump()) == config
    assert next(iter(config.model_dump())) == "name"
    assert all(isinstance(n, int) for n in config.input_shape)
    assert len(config.class_names) > 1


def test_keys_come_out_of_toml():
    text = 'name = "fsdd"\nheld_out_speaker = "theo"\n[front_end]\nframe_count = 48\n'
    config = ANY.validate_python(tomllib.loads(text))
    assert isinstance(config, Fsdd)
    assert config.input_shape == (48, 16)


@pytest.mark.parametrize("keys", [{"name": "minst"}, {"name": "mnist", "fold": "x"}, {}])
def test_unknown_names_and_keys_are_refused(keys):
    with pytest.raises(ValidationError):
        ANY.validate_python(keys)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("train_count", value) for value in (True, "10", 10.0)),
        ("folder", 3),
        ("mean", "0.1"),
        ("standard_deviation", True),
        ("canvas_size", "28"),
        ("test_shift_pixels", False),
    ],
)
def test_a_value_of_another_type_is_refused_and_not_converted(key, value):
    with pytest.raises(ValidationError, match=key):
        ANY.validate_python({"name": "mnist", key: value})


def test_a_configuration_does_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        Digits().mean = 1.0  # pyright: ignore


def test_the_data_folder_is_named_or_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("JCNN_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    monkeypatch.delenv("JCNN_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_folder() == tmp_path / ".cache" / "jcnn"


def test_describing_data_imports_nothing_heavy():
    code = (
        "import sys; sys.modules['jcnn'] = type(sys)('jcnn'); "
        "sys.modules['jcnn'].__path__ = ['jcnn']; import jcnn.data, jcnn.data.fetch; "
        "heavy = {'jax', 'scipy', 'sklearn', 'PIL', 'grain', 'pooch', 'requests', 'absl'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["digits", "mnist"])
@pytest.mark.parametrize("validation", [6, 0.25])
def test_validation_is_taken_out_of_the_training_set(mnist_folder, name, validation):
    whole = ANY.validate_python({"name": name}).load()
    data = ANY.validate_python({"name": name, "validation": validation}).load()
    count = validation if validation > 1 else round(validation * len(whole.train))
    assert data.validation is not None
    assert len(data.validation) == count
    assert len(data.train) == len(whole.train) - count
    assert len(data.test) == len(whole.test)
