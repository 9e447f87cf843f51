"""Progress: plain lines in a pipe, a bar on a terminal, the same facts."""

from __future__ import annotations

import io

import pytest

from jcnn.training import choose_progress
from jcnn.training.progress import Lines, Live, Progress, duration

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


def test_a_log_says_where_training_is_after_a_silent_minute(tiny, monkeypatch):
    clock = {"now": 0.0}
    monkeypatch.setattr("jcnn.training.progress.perf_counter", lambda: clock["now"])
    stream = io.StringIO()
    progress = Lines(stream)
    progress.begin(tiny(), step=100, steps=1000, steps_per_epoch=9)
    clock["now"] = 10.0
    progress.compiled(10.0)
    for seconds, step in ((69.0, 159), (70.0, 160), (129.0, 219), (160.0, 250), (3610.0, 910)):
        clock["now"] = seconds
        progress.stepped(step, MEANS, 1234.0)
    progress.evaluated(100, 900, {"train": MEANS, "test": MEANS}, 2.0)
    clock["now"] += 59.0
    progress.stepped(999, MEANS, 1234.0)
    figures = "train loss 0.5000  train accuracy 75.00%  1,234 images/s"
    assert stream.getvalue().splitlines()[2:-1] == [
        f"step 160/1000  {figures}  14 min left",
        f"step 250/1000  {figures}  12 min left",
        f"step 910/1000  {figures}  7 min left",
    ]


@pytest.mark.parametrize(
    ("seconds", "said"), [(3.4, "3 s"), (89.0, "89 s"), (91.0, "2 min"), (7200.0, "2.0 h")]
)
def test_the_time_left_is_said_in_its_unit(seconds, said):
    assert duration(seconds) == said


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
