"""Environments that people have: no home, no name, ASCII, another platform, another folder."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
import pytest

from jcnn.cli import process
from jcnn.config import load_experiment
from jcnn.data.folder import data_folder
from jcnn.errors import UserError
from jcnn.folders import cache_folder
from jcnn.training import enable_compilation_cache

# They start processes, train or compile much.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TINY = """
[data]
name = "digits"
train_count = 60
[optimizer]
name = "sgd"
learning_rate = 0.1
[training]
epochs = 1
batch_size = 20
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
features = 10
"""


def run(*arguments: str, **environment: str | None) -> subprocess.CompletedProcess[str]:
    merged = {**os.environ, "PYTHONPATH": str(ROOT), "JCNN_ALLOCATOR": "system"} | environment
    kept = {name: value for name, value in merged.items() if value is not None}
    command = [sys.executable, "-m", "jcnn", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=kept, timeout=300)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.toml").write_text(TINY)
    return tmp_path / "a.toml"


@pytest.fixture
def _homeless(monkeypatch):
    """A user without HOME whom the system does not know, as in many containers."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(
        Path, "home", classmethod(lambda cls: (_ for _ in ()).throw(RuntimeError()))
    )


@pytest.mark.usefixtures("_homeless")
def test_without_a_home_there_is_a_folder_for_data_and_cache(monkeypatch):
    monkeypatch.delenv("JCNN_DATA", raising=False)
    assert data_folder() == cache_folder()
    assert cache_folder().is_absolute()


def test_a_home_that_there_is_not_is_named(monkeypatch):
    monkeypatch.setenv("JCNN_DATA", "~nobody-of-this-name/data")
    with pytest.raises(UserError, match="~nobody-of-this-name/data begins with the home folder"):
        data_folder()
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("JCNN_CACHE", "~nobody-of-this-name/cache")
    with pytest.raises(UserError, match="begins with the home folder"):
        enable_compilation_cache()


def test_a_data_folder_may_be_given_from_here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JCNN_DATA", ".")
    assert data_folder() == tmp_path


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="needs to be root")
@pytest.mark.slow
def test_a_user_without_home_and_name_can_train():
    program = (
        "import os, sys; os.setuid(54321); os.chdir(sys.argv[1]); "
        "from jcnn.cli import main; sys.exit(main(['train', 'a.toml', '--out', 'run']))"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "JAX_ENABLE_X64": "1"}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        (Path(folder) / "a.toml").write_text(TINY)
        done = subprocess.run(
            [sys.executable, "-c", program, folder],
            capture_output=True,
            text=True,
            env=environment,
            timeout=300,
        )
    if "No module named" in done.stderr:
        pytest.skip("nobody else may read this Python, or this checkout")
    assert done.returncode == 0, done.stderr
    assert "test accuracy" in done.stdout


@pytest.mark.parametrize(
    "name",
    ["nonsense", *(pytest.param(n, marks=pytest.mark.slow) for n in ("cuda", ",", "cpu,nonsense"))],
)
def test_a_platform_that_is_not_there_is_one_sentence(config, name):
    done = run("train", str(config), JAX_PLATFORMS=name)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"JAX_PLATFORMS is '{name}', which JAX can't start here" in done.stderr
    assert not Path("runs").exists()


def test_only_errors_of_jax_about_platforms_are_taken_for_such():
    assert process.platform_mistake(RuntimeError("something else")) is None
    assert process.platform_mistake(ValueError("Unable to initialize backend 'x'")) is None


@pytest.mark.parametrize("command", [(), ("train",), ("data",)])
def test_help_is_printed_where_there_is_ascii_alone(command):
    done = run(*command, "--help", PYTHONIOENCODING="ascii", LANG="C", LC_ALL="C")
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


@pytest.mark.slow
def test_double_precision_in_the_environment_changes_no_bit(config, tmp_path, monkeypatch):
    from jcnn.training import evaluate, load_trained, train

    monkeypatch.setenv("JCNN_CACHE", "")
    experiment = load_experiment(config)
    plain = train(experiment, "plain")
    with jax.enable_x64(True):
        double = train(experiment, "double")
        measured = evaluate("plain")
        again = load_trained("plain").state
    assert double["test"] == plain["test"]
    assert {name: measured[name] for name in plain["test"]} == plain["test"]
    other = load_trained("double").state
    for one, two in zip(jax.tree.leaves(again), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(two))
        assert one.dtype == two.dtype


def test_the_command_forgets_double_precision(monkeypatch):
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    monkeypatch.delitem(sys.modules, "jax")
    process.leave_precision_alone()
    assert "JAX_ENABLE_X64" not in os.environ


def test_experiments_come_with_jcnn_wherever_one_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_experiment("digits").name == "digits"
    with pytest.raises(UserError, match=r"digts does not exist \(did you mean 'digits'\?\).*mnist"):
        load_experiment("digts")


def test_a_file_of_that_name_goes_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("digits").write_text(TINY)
    assert load_experiment("digits").data.train_count == 60


def test_the_wheel_brings_the_experiments():
    import tomllib

    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert wheel["targets"]["wheel"]["force-include"] == {"configs": "jcnn/configs"}


OWN = TINY.replace(
    'name = "digits"\ntrain_count = 60', 'name = "image_folder"\nfolder = "photos"\nclasses = 10'
)


def test_paths_in_a_file_are_seen_from_its_folder(tmp_path, monkeypatch):
    for name in ("project/photos", "elsewhere/photos"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "project" / "w.safetensors").write_bytes(b"")
    text = OWN.replace("[training]", '[training]\ninitial_weights = "w.safetensors"')
    (tmp_path / "project" / "a.toml").write_text(text)
    monkeypatch.chdir(tmp_path / "elsewhere")
    experiment = load_experiment("../project/a.toml")
    assert experiment.data.folder == str(tmp_path / "project" / "photos")
    assert experiment.training.initial_weights.file == str(tmp_path / "project" / "w.safetensors")


def test_paths_that_are_typed_are_seen_from_here(tmp_path, monkeypatch):
    for name in ("project/photos", "here/photos"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "project" / "a.toml").write_text(OWN)
    monkeypatch.chdir(tmp_path / "here")
    experiment = load_experiment("../project/a.toml", {"data.folder": "photos"})
    assert experiment.data.folder == str(tmp_path / "here" / "photos")


def test_paths_that_lead_nowhere_are_seen_from_the_data_folder(tmp_path, monkeypatch):
    (tmp_path / "data" / "photos").mkdir(parents=True)
    monkeypatch.setenv("JCNN_DATA", str(tmp_path / "data"))
    (tmp_path / "a.toml").write_text(OWN)
    experiment = load_experiment(tmp_path / "a.toml")
    assert experiment.data.folder == "photos"
    assert experiment.data.path == tmp_path / "data" / "photos"
