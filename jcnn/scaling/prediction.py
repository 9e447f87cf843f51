"""How an experiment's step would scale: compiled for each count of devices, and its time predicted.

Each part's time is what it takes at least: a step is as fast only where arithmetic and memory are
as fast as they are said to be, and it is slower where they wait for each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jcnn.config import Experiment
from jcnn.errors import UserError
from jcnn.runs.environment import versions
from jcnn.scaling.chips import Chip
from jcnn.scaling.devices import devices_for
from jcnn.scaling.programs import Program, compile_step
from jcnn.training.mesh import batch_parts

STRONG, WEAK = "strong", "weak"


@dataclass(frozen=True)
class Row:
    """A step on so many devices.

    Attributes:
        scaling: "strong": the experiment's batch is split over the devices; "weak": each has one.
        devices: How many.
        batch_size: Examples of a step, of all devices.
        flops: Operations per device.
        memory_bytes: Arguments and temporary memory per device.
        bytes_accessed: Read and written by a device's operations.
        collectives: Their number and their bytes per device, by kind.
        seconds: What takes at least how long: "arithmetic", "memory", "schedule" (the compiler's
            own cycles), "links".
    """

    scaling: str
    devices: int
    batch_size: int
    flops: float
    memory_bytes: int
    bytes_accessed: float
    collectives: dict[str, tuple[int, int]]
    seconds: dict[str, float]

    @property
    def step_seconds(self) -> float:
        """The predicted time of a step: on the chip, then on the links, which may also overlap."""
        return max(s for what, s in self.seconds.items() if what != "links") + self.seconds["links"]

    @property
    def limit(self) -> str:
        """What takes longest."""
        return max(self.seconds, key=self.seconds.__getitem__)

    @property
    def examples_per_second(self) -> float:
        """Examples of all devices in a second."""
        return self.batch_size / self.step_seconds

    def to_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints of it."""
        kinds = {
            kind: {"count": count, "bytes": size}
            for kind, (count, size) in self.collectives.items()
        }
        derived = {
            "step_seconds": self.step_seconds,
            "examples_per_second": self.examples_per_second,
            "limit": self.limit,
        }
        return {**vars(self), "collectives": kinds, **derived}


@dataclass(frozen=True)
class Scaling:
    """Rows, and what they were predicted with.

    Attributes:
        name: The experiment's.
        chip: The chip.
        compiler: "tpu", or "cpu" where the chip's own compiler was not at hand.
        rows: One for each kind of scaling and count of devices, one device first.
        notes: What must be known to read them.
    """

    name: str
    chip: Chip
    compiler: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def of(self, scaling: str) -> list[Row]:
        """Return the rows of a kind; one device is of both."""
        return [row for row in self.rows if row.scaling == scaling or row.devices == 1]

    def efficiency(self, row: Row) -> float:
        """Return examples per second and device, in proportion to those of one device."""
        one = self.rows[0].examples_per_second
        return row.examples_per_second / row.devices / one

    def to_dict(self, examples: int | None = None) -> dict[str, Any]:
        """Return what ``--json`` prints; with ``examples`` of an epoch, epochs per hour too."""
        rows = []
        for row in self.rows:
            shown = {**row.to_dict(), "efficiency": self.efficiency(row)}
            if examples:
                shown["epochs_per_hour"] = epochs_per_hour(row, examples)
            rows.append(shown)
        return {
            "name": self.name,
            "chip": {**vars(self.chip), "flops": dict(self.chip.flops)},
            "compiler": self.compiler,
            "rows": rows,
            "notes": list(self.notes),
            "versions": versions(),
        }


def epochs_per_hour(row: Row, examples: int) -> float:
    """Return how often so many examples are seen in an hour."""
    return 3600 * row.examples_per_second / examples


def predict(
    experiment: Experiment,
    chip: Chip,
    counts: Sequence[int],
    report: Callable[[str], None] = lambda line: None,
) -> Scaling:
    """Compile an experiment's step for one device and for each count, and predict its time.

    Args:
        experiment: Its data need not be there. Its ``training.batch_size`` is one device's share
            in weak scaling and the whole batch in strong. Its mesh must fill every count of
            devices but 1, which is without.
        chip: What it is to run on.
        counts: Of devices.
        report: Told what is being compiled.

    Raises:
        UserError: There is no such slice of chips, the experiment's mesh doesn't fill it, or JAX
            has begun with fewer virtual devices.
    """
    size, parts = experiment.training.batch_size, {1: 1}
    for count in sorted({*counts} - {1}):
        chip.islands(count)
        parts[count] = batch_parts(experiment, count)
    rows: list[Row] = []
    undivided: list[int] = []
    compiler = "cpu"
    for count in parts:
        meshed = experiment if count > 1 else experiment.model_copy(update={"mesh": None})
        devices, compiler = devices_for(chip, count)
        for scaling, batch_size in ((STRONG, size), (WEAK, size * count)):
            if batch_size % parts[count]:
                undivided.append(count)
            elif count > 1 or scaling == STRONG:
                report(f"{count} x {chip.name}, {batch_size} examples")
                sized, platform = with_batch(meshed, batch_size), chip.platform
                program, _ = compile_step(sized, devices, platform=platform)
                rows.append(_row(experiment, chip, scaling, count, batch_size, program))
    notes = _notes(chip, compiler, size, undivided)
    return Scaling(experiment.name, chip, compiler, tuple(rows), notes)


def with_batch(experiment: Experiment, batch_size: int) -> Experiment:
    """Return the experiment with another size of a batch."""
    training = experiment.training.model_copy(update={"batch_size": batch_size})
    return experiment.model_copy(update={"training": training})


def _row(
    experiment: Experiment, chip: Chip, scaling: str, count: int, size: int, program: Program
) -> Row:
    kinds = Counter(collective.kind for collective in program.collectives)
    sizes = Counter[str]()
    for collective in program.collectives:
        sizes[collective.kind] += collective.size
    seconds = {
        "arithmetic": program.flops / chip.flops[experiment.training.precision],
        "memory": program.bytes_accessed / chip.memory_rate,
        "links": sum(
            chip.exchange_seconds(c.kind, c.size, count, c.group) for c in program.collectives
        ),
    }
    if chip.clock and program.cycles:
        seconds["schedule"] = program.cycles / chip.clock
    return Row(
        scaling=scaling,
        devices=count,
        batch_size=size,
        flops=program.flops,
        memory_bytes=program.memory_bytes,
        bytes_accessed=program.bytes_accessed,
        collectives={kind: (kinds[kind], sizes[kind]) for kind in kinds},
        seconds=seconds,
    )


def _notes(chip: Chip, compiler: str, size: int, undivided: Sequence[int]) -> tuple[str, ...]:
    notes = [f"Predicted, not measured: what a step takes at least. {'; '.join(chip.sources)}."]
    if compiler == "cpu":
        notes.append(
            f"Compiled for virtual CPU devices, as {chip.name}'s compiler is not at hand: "
            "operations and collectives are the same; bytes read and written are those of what XLA "
            "fuses on a CPU."
        )
    if undivided:
        counts = ", ".join(map(str, undivided))
        notes.append(f"No strong scaling over {counts}: a batch of {size} can't be split so.")
    return tuple(notes)


def parse_counts(text: str) -> tuple[int, ...]:
    """Read ``8,64,512``.

    >>> parse_counts("8,64,512")
    (8, 64, 512)

    Raises:
        UserError: That is no list of positive whole numbers.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and 0 < int(word) <= 2**16 for word in words):
        raise UserError(
            f"--devices '{text}': expected whole numbers from 1 to 65536, separated by commas, "
            "such as 8,64,512"
        )
    return tuple(sorted({int(word) for word in words}))
