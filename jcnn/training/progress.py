"""What a person sees while training runs: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import IO, Any

from jcnn.config import Experiment
from jcnn.errors import counted

Means = Mapping[str, float]
# Measured beside training, in the order in which they are said.
SPLITS = ("validation", "test")
# Seconds after which a log says where training is, if nothing else was said.
SILENCE = 60


class Progress:
    """Is told what happens in training; this base shows nothing."""

    def begin(self, experiment: Experiment, *, step: int, steps: int, steps_per_epoch: int) -> None:
        """Training is about to compile and then to go from ``step`` to ``steps``."""

    def remark(self, line: str) -> None:
        """Something is allowed that may not be meant."""

    def compiled(self, seconds: float) -> None:
        """The programs are ready."""

    def stepped(self, step: int, means: Means, images_per_second: float) -> None:
        """``step`` steps are done; ``means`` are those since the last evaluation."""

    def evaluated(self, epoch: int, step: int, means: Mapping[str, Means], seconds: float) -> None:
        """An evaluation is done; ``means`` are those of each split."""

    def end(self) -> None:
        """Training has ended, whichever way."""


class Lines(Progress):
    """Plain lines, one per evaluation and one after each silent minute: for log files and pipes."""

    def __init__(self, stream: IO[str]) -> None:
        """Write to ``stream``."""
        self._stream = stream
        self._epochs = self._begun = self._steps = 0
        self._started = self._said = perf_counter()

    def begin(self, experiment: Experiment, *, step: int, steps: int, steps_per_epoch: int) -> None:
        """Say what is trained, and how long."""
        self._epochs = experiment.training.epochs
        self._begun, self._steps = step, steps
        start = f", from step {step}" if step else ""
        self._say(
            f"{experiment.name}: {counted(self._epochs, 'epoch')} of "
            f"{counted(steps_per_epoch, 'step')}{start}, "
            f"seed {experiment.seed}"
        )

    def remark(self, line: str) -> None:
        """Say it."""
        self._say(f"note: {line}")

    def compiled(self, seconds: float) -> None:
        """Say what compilation took."""
        self._say(f"compiled in {seconds:.1f} s")
        self._started = perf_counter()

    def stepped(self, step: int, means: Means, images_per_second: float) -> None:
        """Say where training is, if nothing was said for a minute."""
        now = perf_counter()
        if now - self._said < SILENCE:
            return
        each = (now - self._started) / max(step - self._begun, 1)
        self._say(
            f"step {step}/{self._steps}  train loss {means['loss']:.4f}  train accuracy "
            f"{means['accuracy']:.2%}  {images_per_second:,.0f} images/s  "
            f"{duration(each * (self._steps - step))} left"
        )

    def evaluated(self, epoch: int, step: int, means: Mapping[str, Means], seconds: float) -> None:
        """Say how good the network is."""
        train = means["train"]
        measured = "  ".join(_measured(name, means[name]) for name in SPLITS if name in means)
        waiting = f"  {train['waiting']:.0%} waiting for data" if "waiting" in train else ""
        self._say(
            f"epoch {epoch:>{len(str(self._epochs))}}/{self._epochs}  step {step}  "
            f"train loss {train['loss']:.4f}  {measured}  {seconds:.1f} s{waiting}"
        )

    def _say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)
        self._said = perf_counter()


def duration(seconds: float) -> str:
    """Say a time in seconds, minutes or hours.

    >>> duration(300.0)
    '5 min'
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _measured(split: str, means: Means) -> str:
    part = f" (of {means['examples']} of {means['of']})" if "examples" in means else ""
    return f"{split} loss {means['loss']:.4f}  {split} accuracy {means['accuracy']:.2%}{part}"


class Live(Lines):
    """The same lines, over a bar with step, loss, accuracy, images per second and the time left."""

    def __init__(self, console: Any) -> None:
        """Draw on a Rich console."""
        super().__init__(console.file)
        self._console = console
        self._bar: Any = None

    def begin(self, experiment: Experiment, *, step: int, steps: int, steps_per_epoch: int) -> None:
        """Show the bar."""
        from rich import progress as bars
        from rich.table import Column

        # on a narrow terminal the figures are cut, and what matters most stands first
        cut = Column(no_wrap=True, overflow="ellipsis")
        columns = (
            bars.TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}", table_column=cut),
            bars.BarColumn(bar_width=None, table_column=Column(ratio=1, max_width=40)),
            bars.TextColumn(
                "step {task.completed}/{task.total}  {task.fields[metrics]}", table_column=cut
            ),
            bars.TimeRemainingColumn(table_column=cut),
        )
        self._steps_per_epoch = steps_per_epoch
        self._bar = bars.Progress(*columns, console=self._console, transient=True)
        fields = {"epoch": step // steps_per_epoch, "epochs": experiment.training.epochs}
        self._bar.add_task("", total=steps, completed=step, metrics="compiling", **fields)
        self._bar.start()
        super().begin(experiment, step=step, steps=steps, steps_per_epoch=steps_per_epoch)

    def compiled(self, seconds: float) -> None:
        """Say what compilation took; the time left counts from here."""
        super().compiled(seconds)
        self._bar.update(0, metrics="")

    def stepped(self, step: int, means: Means, images_per_second: float) -> None:
        """Move the bar."""
        metrics = (
            f"loss {means['loss']:.4f}  accuracy {means['accuracy']:.2%}  "
            f"{images_per_second:,.0f} images/s"
        )
        epoch = -(-step // self._steps_per_epoch)
        self._bar.update(0, completed=step, epoch=epoch, metrics=metrics)

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def _say(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False)


def choose_progress(stream: IO[str]) -> Lines:
    """Return a live bar where ``stream`` is a terminal, else plain lines."""
    if not stream.isatty():
        return Lines(stream)
    from rich.console import Console

    return Live(Console(file=stream))
