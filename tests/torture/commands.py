"""Command lines as somebody might mistype them, drawn by Hypothesis."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from hypothesis import strategies as st

CONFIG = """
[data]
name = "digits"
train_count = 64
[optimizer]
name = "sgd"
learning_rate = 0.1
[training]
epochs = 1
batch_size = 32
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
features = 10
"""
COMMANDS = (
    *("train", "evaluate", "predict", "summary", "check", "verify", "bench", "tran", ""),
    *("data verify", "data fetch", "data", "weights save", "weights load", "weights"),
)
OPTIONS = (
    *("--set", "--out", "--resume", "--json", "--split", "--best", "--invert", "--failure"),
    *("--exact", "--samples", "--batch-size", "--kills", "--help", "--version", "--epochs", "-x"),
)
OVERRIDES = (
    *(
        "training.epochs=2",
        "training.epochs=0",
        "training.epochs=nan",
        "epochs=3",
        "seed=1",
        "=",
        "a",
    ),
    *("optimizer.learning_rate=nan", "optimizer.learning_rate=-1.0", "optimizer.learning_rate="),
    *(
        "layers.0=1",
        "layers.9.features=2",
        "layers.1.features=[]",
        "layers.type=conv",
        "data=digits",
    ),
    *("training.on_nonfinite=skip", "training.checkpoint_every_seconds=0", "training=1", "..=1"),
    *("data.name=mnist", 'data={name="digits"}', "training.augment=[{name='shift'}]", "name=../x"),
)


def prepare(folder: Path) -> tuple[str, ...]:
    """Write what the words of a command may name; return these words."""
    (folder / "good.toml").write_text(CONFIG)
    (folder / "bad.toml").write_text("[data\n")
    (folder / "empty").mkdir()
    (folder / "binary").write_bytes(bytes(range(256)))
    names = ("good.toml", "bad.toml", "empty", "binary", "absent", "run", "é ü", "/proc/x", "-1")
    return tuple(names)


def command_lines(names: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    """Return command lines of a command, files and options that may fit together or not."""
    option = st.one_of(
        st.sampled_from(OPTIONS).map(lambda word: [word]),
        st.sampled_from(OVERRIDES).map(lambda word: ["--set", word]),
        st.tuples(st.sampled_from(OPTIONS), st.sampled_from((*names, "0", "nan", "test"))).map(
            list
        ),
    )
    words = st.one_of(st.sampled_from(names), st.sampled_from(names), st.text(max_size=5))
    files = st.lists(words.map(lambda word: word.replace("\0", "")), max_size=2)
    return st.builds(
        lambda command, files, options: [*command.split(), *files, *chain(*options)],
        st.sampled_from(COMMANDS),
        st.one_of(st.just(["good.toml"]), st.just(["run"]), files),
        st.lists(option, max_size=3),
    ).filter(is_quick)


def is_quick(words: list[str]) -> bool:
    """Whether it is no more than seconds of work: no benchmark, no double training, no download."""
    works = words[:1] in (["bench"], ["verify"]) and "good.toml" in words
    return not works and words[:2] != ["data", "fetch"]
