"""The command line: what it prints, and one sentence and exit code 2 for every mistake."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import jcnn
from jcnn.cli import main
from jcnn.cli.options import say
from jcnn.cli.train import _confusions
from tests.optimisations import few_optimisations

pytestmark = pytest.mark.usefixtures("mathematics")

ROOT = Path(__file__).parents[2]
CONFIG = """
[data]
name = "digits"
train_count = 200
[optimizer]
name = "sgd"
learning_rate = 0.1
[training]
epochs = 1
[[layers]]
type = "conv"
features = 2
window = 3
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
features = 10
"""
MNIST = CONFIG.replace('"digits"', '"mnist"').replace("train_count = 200", "")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JCNN_CACHE", "")
    Path("a.toml").write_text(CONFIG)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "a.toml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch, few_optimisations():
        patch.setenv("JCNN_CACHE", "")
        assert main(["train", str(folder / "a.toml"), "--out", str(folder / "run")]) == 0
    return folder / "run"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail as a user's mistake; return its one sentence."""
    capsys.readouterr()
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("jcnn: ")
    return captured.err


def test_train_says_what_it_does_and_leaves_a_run(capsys):
    assert main(["train", "a.toml"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"epoch 1/1  step 3 .*test accuracy \d+\.\d\d%", out)
    assert "compiled in" in out
    assert "run in runs/a" in out
    assert json.loads(Path("runs/a/summary.json").read_text())["steps"] == 3


def test_train_says_what_validation_says(capsys):
    assert main(["train", "a.toml", "--set", "data.validation=50"]) == 0
    *_, evaluated, last = capsys.readouterr().out.splitlines()
    figures = {
        split: f"{means['accuracy']:.2%}"
        for split, means in json.loads(Path("runs/a/summary.json").read_text()).items()
        if split in ("test", "validation")
    }
    assert f"validation accuracy {figures['validation']}  test loss" in evaluated
    assert last.startswith(
        f"validation accuracy {figures['validation']}, test accuracy {figures['test']} in "
    )


def test_train_set_and_json(capsys):
    assert main(["train", "a.toml", "--set", "training.batch_size=100", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["steps"] == 2
    assert summary["run"] == "runs/a"


def test_evaluate_agrees_with_the_summary(trained, capsys):
    assert main(["evaluate", str(trained), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    summary = json.loads((trained / "summary.json").read_text())
    assert {name: result[name] for name in ("loss", "accuracy")} == summary["test"]
    assert main(["evaluate", str(trained), "--split", "train"]) == 0
    assert capsys.readouterr().out.startswith("train loss")


def test_predict_names_a_class_for_each_image(trained, capsys):
    for number in (1, 2):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(f"{number}.png")
    assert main(["predict", str(trained), "1.png", "2.png"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [re.fullmatch(r"(\d)\.png  \d  \d+\.\d\d%", line) is not None for line in lines] == [
        True,
        True,
    ]
    assert main(["predict", str(trained), "1.png", "--json"]) == 0
    (prediction,) = json.loads(capsys.readouterr().out)["predictions"]
    assert sum(prediction["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert prediction["probability"] == prediction["probabilities"][prediction["class"]]


def test_summary(capsys):
    assert main(["summary", "a.toml"]) == 0
    assert "conv" in capsys.readouterr().out
    assert main(["summary", "a.toml", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["parameters"] == (9 + 1) * 2 + (6 * 6 * 2 + 1) * 10
    assert {"connections", "units", "flops", "layers"} <= set(shown)


def test_summary_of_a_run_is_that_of_its_experiment(trained, capsys):
    assert main(["summary", str(trained), "--json"]) == 0
    of_run = json.loads(capsys.readouterr().out)
    assert main(["summary", "a.toml", "--json"]) == 0
    assert of_run == json.loads(capsys.readouterr().out)
    assert "run's folder" in refused(capsys, "summary", str(trained), "--set", "seed=1")


def test_details_of_an_evaluation(trained, capsys):
    assert main(["evaluate", str(trained), "--details"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("top-5 accuracy ")
    assert len(lines) == 2 + 10
    assert re.match(r"  0  recall +\d+\.\d\d% of 36", lines[2])


def test_what_a_class_was_taken_for_stands_before_how_often():
    result = {
        "recall": {"5": 0.5, "6": 1.0},
        "confusion_matrix": [[9, 9], [0, 18]],
    }
    first, second = _confusions(result)
    assert first.endswith("recall  50.00% of 18; taken for 6 (9×)")
    assert second.endswith("recall 100.00% of 18")


def test_a_folder_without_anything_to_predict_says_so(trained, capsys):
    Path("empty").mkdir()
    assert main(["predict", str(trained), "empty"]) == 1
    assert capsys.readouterr().err.startswith("jcnn: empty holds no image and no recording\n")


def test_what_the_allocator_is_told_is_said_to_who_asks(monkeypatch, capsys):
    from jcnn.cli.options import say_allocator_note

    monkeypatch.setenv("JCNN_ALLOCATOR", "tuned")
    say_allocator_note(False)
    assert capsys.readouterr().err == ""
    say_allocator_note(True)
    assert "GLIBC_TUNABLES" in capsys.readouterr().err


def test_data_check_of_a_folder(tmp_path, capsys):
    from tests.data.formats import write_colours

    folder = write_colours(tmp_path / "own", {"cat": 2})
    assert main(["data", "check", str(folder)]) == 0
    assert capsys.readouterr().out == f"2 files in {folder}, no findings\n"
    (folder / "cat" / "bad.jpg").write_text("?")
    assert main(["data", "check", str(folder)]) == 1
    said = capsys.readouterr().out
    assert said.startswith(f"unreadable: {folder}/cat/bad.jpg is not an image")
    assert said.endswith(f"3 files in {folder}, 1 finding\n")
    assert main(["data", "check", str(folder), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["files"] == 3
    assert found["findings"][0]["kind"] == "unreadable"
    assert main(["data", "check", "digits"]) == 0
    assert "does not exist" in refused(capsys, "data", "check", "none")


def test_data_check_of_a_published_set_prints_the_same_json_as_of_a_folder(monkeypatch, capsys):
    monkeypatch.setenv("JCNN_DATA", str(Path("no-data")))
    assert main(["data", "check", "mnist", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["files"] == len(found["findings"]) == 4
    assert {row["kind"] for row in found["findings"]} == {"missing"}
    assert found["findings"][0].keys() == {"path", "kind", "message"}
    assert main(["data", "check", "digits", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"files": 1, "findings": []}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("layers.0.kernel_size=3", "did you mean 'window'"),
        ("layers.0.filters=3", "did you mean 'features'"),
        ("layers.2.units=3", "did you mean 'features'"),
        ("layers.0.type=Conv2D", "did you mean 'conv'"),
        ("layers.2.type=Linear", "did you mean 'dense'"),
        ("optimizer.lr=3", "did you mean 'learning_rate'"),
        ("optimizer.name=AdamW", "did you mean 'adamw'"),
        ("loss.name=CrossEntropyLoss", "did you mean 'softmax_cross_entropy'"),
        ("epochs=3", "did you mean 'training.epochs'"),
        ("batch_size=3", "did you mean 'training.batch_size'"),
        ("layers.0.colour=3", "there are type, name, features, window"),
        ("optimizer.learning_rate=-0.1", "expected a value of at least 0, found -0.1"),
        ("optimizer.after=[{name='polynomial'}]", "unknown 'polynomial'"),
    ],
)
def test_other_libraries_words_are_answered_with_ours(capsys, override, words):
    assert words in refused(capsys, "train", "a.toml", "--set", override)


def test_a_byte_order_mark_is_no_mistake(capsys):
    Path("bom.toml").write_bytes(b"\xef\xbb\xbf" + CONFIG.encode())
    assert main(["summary", "bom.toml"]) == 0


@pytest.mark.parametrize(
    ("layer", "loss"), [("softmax", "softmax_cross_entropy"), ("sigmoid", "binary_cross_entropy")]
)
def test_a_layer_that_the_loss_holds_already_is_refused(capsys, layer, loss):
    Path("twice.toml").write_text(
        f'loss = {{name = "{loss}"}}\n{CONFIG}[[layers]]\ntype = "{layer}"\n'
    )
    message = refused(capsys, "train", "twice.toml")
    assert f"'{layer}_1' ({layer}) stands before the loss '{loss}'" in message


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"jcnn {jcnn.__version__}\n"


def test_data_verify_of_the_embedded_digits(capsys):
    assert main(["data", "verify", "digits"]) == 0
    assert "intact" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.epoch=3", "epochs"),
        ("layers.0.windw=3", "window"),
        ("trainin.epochs=3", "training"),
        ("training.epochs=many", "training.epochs"),
        ("training.epochs=1.5", "training.epochs"),
        ("layers.0.features=-2", "layers.0.features"),
        ("training.batch_size=0", "training.batch_size"),
        ("layers.0.window=9", "window"),
        ("layers.2.features=11", "10"),
        ("layers.0.type=cnv", "conv"),
        ("optimizer.name=adm", "adam"),
        ("optimizer.momentm=0.9", "momentum"),
        ("loss.name=softmax", "softmax_cross_entropy"),
        ("data.name=digit", "digits"),
        ("training.precision=half", "bfloat16"),
        ("training.batch_size=201", "training.batch_size"),
        ("data.train_count=5000", "data.train_count"),
        ("layers.7.features=3", "layers"),
        ("nonsense", "key=value"),
    ],
)
def test_a_wrong_key_or_value_is_named(capsys, override, words):
    assert words in refused(capsys, "train", "a.toml", "--set", override)
    assert not Path("runs").exists()


@pytest.mark.parametrize("command", ["train", "summary"])
def test_a_config_that_is_none(capsys, command):
    assert "b.toml" in refused(capsys, command, "b.toml")
    Path("folder").mkdir()
    assert "folder" in refused(capsys, command, "folder")
    Path("b.toml").write_text("[data\n")
    assert "TOML" in refused(capsys, command, "b.toml")
    Path("b.toml").write_bytes(b"\xff\xfe\x00")
    assert "b.toml" in refused(capsys, command, "b.toml")


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


def write_mnist(folder: Path, **damaged: bytes) -> None:
    folder.mkdir(parents=True)
    files = {
        "train-images-idx3-ubyte": idx(np.zeros((4, 28, 28), np.uint8)),
        "train-labels-idx1-ubyte": idx(np.arange(4, dtype=np.uint8)),
        "t10k-images-idx3-ubyte": idx(np.zeros((2, 28, 28), np.uint8)),
        "t10k-labels-idx1-ubyte": idx(np.arange(2, dtype=np.uint8)),
    }
    for name, content in (files | damaged).items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))


def test_missing_data_say_how_to_get_them(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("JCNN_DATA", str(tmp_path / "data"))
    Path("m.toml").write_text(MNIST)
    assert "jcnn data fetch mnist" in refused(capsys, "train", "m.toml")
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "content",
    [idx(np.zeros((4, 28, 28), np.uint8))[:-1], b"", b"\x00\x00\x09\x09" + bytes(100)],
    ids=["truncated", "empty", "magic"],
)
def test_a_damaged_idx_file_is_named(capsys, tmp_path, monkeypatch, content):
    monkeypatch.setenv("JCNN_DATA", str(tmp_path / "data"))
    write_mnist(tmp_path / "data" / "mnist", **{"train-images-idx3-ubyte": content})
    Path("m.toml").write_text(MNIST)
    message = refused(capsys, "train", "m.toml", "--set", "training.batch_size=2")
    assert "train-images-idx3-ubyte" in message


def test_an_idx_file_that_is_no_gzip_is_named(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("JCNN_DATA", str(tmp_path / "data"))
    write_mnist(tmp_path / "data" / "mnist")
    broken = tmp_path / "data" / "mnist" / "t10k-labels-idx1-ubyte.gz"
    broken.write_bytes(broken.read_bytes()[:-6])
    Path("m.toml").write_text(MNIST)
    message = refused(capsys, "train", "m.toml", "--set", "training.batch_size=2")
    assert "t10k-labels-idx1-ubyte" in message


def test_a_wrong_image_is_named(trained, capsys):
    Image.new("L", (9, 8)).save("wide.png")
    Path("text.png").write_text("no image")
    Path("folder.png").mkdir()
    Image.new("L", (8, 8)).save("good.png")
    bad = ["wide.png", "text.png", "folder.png", "absent.png"]
    capsys.readouterr()
    assert main(["predict", str(trained), *bad[:2], "good.png", *bad[2:]]) == 1
    captured = capsys.readouterr()
    assert [line.split()[0] for line in captured.out.splitlines()] == ["good.png"]
    lines = captured.err.splitlines()
    assert [name in line for name, line in zip(bad, lines[:-1], strict=True)] == [True] * 4
    assert lines[-1] == "jcnn: 4 of 5 files could not be read"
    assert main(["predict", str(trained), "text.png", "good.png", "--json"]) == 1
    first, second = json.loads(capsys.readouterr().out)["predictions"]
    assert "text.png is not an image" in first["error"]
    assert second["file"] == "good.png"


def test_an_output_folder_that_can_t_be_used(trained, capsys):
    Path("file").write_text("")
    for out in ("file", "file/run", "/proc/run"):
        assert out in refused(capsys, "train", "a.toml", "--out", out)
    assert "already holds a run" in refused(capsys, "train", "a.toml", "--out", str(trained))


@pytest.mark.parametrize(
    "arguments",
    [["train", ""], ["train", "a.toml", "--out", " "], ["train", "a.toml", "--out="]],
    ids=["argument", "option", "equals"],
)
def test_an_empty_word_is_not_taken_for_the_folder_one_is_in(capsys, arguments):
    said = refused(capsys, *arguments)
    assert "nothing stands behind 'train'" in said or "nothing stands behind '--out" in said
    assert sorted(path.name for path in Path().iterdir()) == ["a.toml"]


@pytest.mark.parametrize("path", ["x" * 300, "y/" * 3000], ids=["name", "path"])
def test_a_name_that_is_too_long_is_shown_in_part(trained, capsys, path):
    for arguments in (["train", path], ["train", "a.toml", "--out", path], ["evaluate", path]):
        said = refused(capsys, *arguments)
        assert "too long: expected 255 bytes at most between two slashes" in said
        assert len(said) < 300
    assert len(refused(capsys, "train", "a.toml", "--set", f"layers.0.type={path}")) < 600


def test_what_a_file_says_commands_no_terminal(capsys):
    Path("b.toml").write_text(CONFIG.replace('"sgd"', '"\\u001b[31msgd\\u202e"'))
    assert r"unknown '\x1b[31msgd\u202e'" in refused(capsys, "summary", "b.toml")


def test_what_a_file_is_called_commands_no_terminal(capsys):
    say("a\x1b[2J\udce9.png  cat\tand more")
    assert capsys.readouterr().out == "a\\x1b[2J\\udce9.png  cat\tand more\n"


def test_memory_that_is_not_there_is_one_sentence(capsys, monkeypatch):
    def exhausted(**how):
        raise MemoryError("Unable to allocate 960. GiB for an array")

    monkeypatch.setattr("jcnn.cli.app.app", exhausted)
    message = "memory is not enough: Unable to allocate 960. GiB for an array"
    assert message in refused(capsys, "train", "a.toml")


def test_an_index_of_any_length_is_none_of_a_list(capsys):
    key = f"layers.{'1' * 5000}.features"
    assert "is a list, whose entries are 0 to" in refused(
        capsys, "train", "a.toml", "--set", f"{key}=3"
    )


def test_a_folder_that_holds_no_run(capsys):
    Path("empty").mkdir()
    for command in (["evaluate"], ["predict"]):
        rest = ["x.png"] if command == ["predict"] else []
        assert "empty" in refused(capsys, *command, "empty", *rest)
        assert "absent" in refused(capsys, *command, "absent", *rest)
        assert "a.toml" in refused(capsys, *command, "a.toml", *rest)
    assert "absent" in refused(capsys, "train", "a.toml", "--out", "absent", "--resume")
    assert "--out DIR" in refused(capsys, "train", "a.toml", "--resume")
    assert "'absent', a folder that does not" in refused(capsys, "train", "absent", "--resume")


def test_a_run_in_the_place_of_a_config(trained, capsys):
    said = refused(capsys, "train", str(trained))
    assert "add --resume" in said
    assert f"jcnn train {trained / 'experiment.toml'}" in said


def test_a_run_without_a_checkpoint_or_with_a_damaged_one(trained, capsys):
    shutil.copytree(trained, "run")
    for file in Path("run/checkpoints").rglob("*"):
        if file.is_file():
            file.write_bytes(b"damaged")
    assert main(["evaluate", "run"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("jcnn: ") for line in lines)
    assert all("is damaged and was left alone" in line for line in lines[:-1])
    assert "checkpoint" in lines[-1]
    shutil.rmtree("run/checkpoints")
    assert "checkpoint" in refused(capsys, "evaluate", "run")
    Path("run/experiment.toml").write_text("[")
    assert "experiment.toml" in refused(capsys, "evaluate", "run")


@pytest.mark.parametrize(
    "arguments",
    [["tran", "a.toml"], ["train"], ["train", "a.toml", "--epochs", "3"], ["data", "fetch"]],
)
def test_a_mistyped_command_is_a_usage_error(capsys, arguments):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Usage" in captured.err
    assert "Traceback" not in captured.err


def test_evaluate_of_an_unknown_split(trained, capsys):
    assert "'valid'" in refused(capsys, "evaluate", str(trained), "--split", "valid")


def test_an_unknown_data_set(capsys):
    assert "mnist" in refused(capsys, "data", "verify", "mnits")


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start the real command."""
    return subprocess.Popen(
        [sys.executable, "-m", "jcnn", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def test_help_loads_nothing_heavy():
    program = (
        "import sys; from jcnn.cli import main; main(['--help']); "
        "sys.exit(any(m in sys.modules for m in ('jax', 'numpy', 'pydantic', 'safetensors')))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    assert "train" in done.stdout


def test_without_the_extra_it_says_what_to_install():
    program = (
        "import sys; sys.modules['typer'] = None; from jcnn.__main__ import main; sys.exit(main())"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 2
    assert "jcnn[experiments]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_real_command_starts_itself_again_at_most_once(monkeypatch):
    for name in ("JCNN_ALLOCATOR", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    process = start("train", "a.toml", "--out", "run", "--verbose", JAX_PLATFORMS="cpu")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.splitlines()[-1].startswith("test accuracy")
    assert err.count("GLIBC_TUNABLES") == (sys.platform == "linux")


def test_ctrl_c_writes_a_checkpoint_and_says_how_to_go_on():
    long = ["--set", "training.epochs=100000", "--set", "training.evaluate_every_epochs=50"]
    process = start("train", "a.toml", "--out", "run", *long, JCNN_ALLOCATOR="system")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch"):
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "jcnn train run --resume" in err
    assert "Traceback" not in err
    assert any(Path("run/checkpoints").iterdir())


def test_compilation_is_cached_where_the_environment_says(monkeypatch, tmp_path):
    from jcnn.training import enable_compilation_cache

    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("JCNN_CACHE", str(tmp_path / "xla"))
    try:
        enable_compilation_cache()
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "xla")
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
