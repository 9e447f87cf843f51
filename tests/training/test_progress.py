"""Progress: plain lines in a pipe, a bar on a terminal, the same facts."""

from __future__ import annotations

import io

from jcnn.training import choose_progress
from jcnn.training.progress import Lines, Live, Progress

MEANS = {"loss": 0.5, "accuracy": 0.75}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def show(progress: Progress, experiment) -> None:
    progress.begin(experiment, step=0, steps=36, steps_per_epoch=9)
    progress.compiled(1.5)
    progress.stepped(3, MEANS, 1234.0)
    progress.evaluated(1, 9, {"train": MEANS, "test": MEANS}, 2.0)
    progress.end()


def test_plain_lines_in_a_pipe(tiny):
    stream = io.StringIO()
    progress = choose_progress(stream)
    assert type(progress) is Lines
    show(progress, tiny())
    assert stream.getvalue().splitlines() == [
        "tiny: 4 epochs of 9 steps, seed 0",
        "compiled in 1.5 s",
        "epoch 1/4  step 9  train loss 0.5000  test loss 0.5000  test accuracy 75.00%  2.0 s",
    ]


def test_one_is_no_plural(tiny):
    stream = io.StringIO()
    once = tiny({"training.epochs": 1})
    choose_progress(stream).begin(once, step=0, steps=1, steps_per_epoch=1)
    assert stream.getvalue() == "tiny: 1 epoch of 1 step, seed 0\n"


def test_what_is_watched_is_said_before_what_is_tested():
    stream = io.StringIO()
    progress = choose_progress(stream)
    better = {"loss": 0.25, "accuracy": 0.875}
    progress.evaluated(1, 9, {"train": MEANS, "test": MEANS, "validation": better}, 2.0)
    assert stream.getvalue() == (
        "epoch 1/0  step 9  train loss 0.5000  validation loss 0.2500  "
        "validation accuracy 87.50%  test loss 0.5000  test accuracy 75.00%  2.0 s\n"
    )


def test_a_bar_on_a_terminal(tiny, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    progress = choose_progress(stream)
    assert isinstance(progress, Live)
    show(progress, tiny())
    shown = stream.getvalue()
    assert "compiled in 1.5 s" in shown
    assert "test accuracy 75.00%" in shown


def test_ending_before_the_beginning_is_allowed():
    choose_progress(Terminal()).end()
