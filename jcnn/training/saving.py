"""When a run is saved, and what is saved of it."""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from jcnn.runs.place import Place
from jcnn.training.layout import SINGLE, Layout
from jcnn.training.processes import ALONE, Alone
from jcnn.training.state import Totals, TrainState

if TYPE_CHECKING:
    from jcnn.runs.checkpoints import Checkpoints

# Before an evaluation a checkpoint is written, unless that would take more of the time than this.
SHARE = 0.01

Row = dict[str, Any]


class Stand(NamedTuple):
    """Where a run stands: all that a checkpoint holds, in one value.

    Attributes:
        step: Steps done.
        state: The training state.
        totals: Sums since the last evaluation.
        rows: The metrics so far.
        best: Name of the checkpoint with the best test metric, where that is kept.
    """

    step: int
    state: TrainState
    totals: Totals
    rows: tuple[Row, ...] = ()
    best: str | None = None

    @property
    def measured(self) -> int:
        """The step of the last evaluation; 0 before the first."""
        return self.rows[-1]["step"] if self.rows else 0

    @property
    def place(self) -> Place:
        """How its checkpoint is named."""
        return Place(self.step, evaluated=0 < self.step == self.measured)

    def evaluated(self, rows: list[Row], *, keep_best: bool) -> Stand:
        """Return where the run stands after an evaluation that gave ``rows``."""

        def merit(row: Row) -> tuple[float, float]:
            return row["accuracy"], -row["loss"]

        after = self._replace(rows=(*self.rows, *rows), totals=Totals.zero())
        tested = [merit(row) for row in after.rows if row["split"] == "test"]
        if keep_best and all(tested[-1] > other for other in tested[:-1]):
            return after._replace(best=str(after.place))
        return after


class Saver:
    """Writes checkpoints when it is time to, and knows what the run has spent.

    Attributes:
        spent: ``seconds`` and ``compile_seconds`` of earlier sessions, and how many there were.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        every_seconds: float,
        started: float,
        layout: Layout = SINGLE,
        processes: Alone = ALONE,
    ) -> None:
        """Begin a session that ``started`` when the person began to wait."""
        self._checkpoints, self._every, self._layout = checkpoints, every_seconds, layout
        self._processes = processes
        self._started, self._saved = started, perf_counter()
        self._last: Place | None = None
        self.spent: dict[str, Any] = {"seconds": 0.0, "compile_seconds": 0.0, "sessions": 0}

    def seconds(self) -> float:
        """Return what the run has taken, all sessions together."""
        return self.spent["seconds"] + perf_counter() - self._started

    def restore(self, like: Any) -> Stand | None:
        """Read the newest undamaged checkpoint, or return None; the same in all processes.

        Raises:
            UserError: It is of another model, or can't be read.
            Elsewhere: The same, in another process.
        """
        processes, checkpoints = self._processes, self._checkpoints
        place = processes.everyone(lambda: checkpoints.newest() if processes.writes else None)
        name = processes.agree(None if place is None else str(place))
        self._last = place = None if name is None else Place.of(name)
        if place is None:
            return None
        return processes.everyone(partial(self._read, place, like))

    def is_seen_by_all(self) -> bool:
        """Whether all processes see what is saved."""
        return self._processes.holds_in_all(self._checkpoints.is_there)

    def _read(self, place: Place, like: Any) -> Stand:
        tree, record = self._checkpoints.restore(place, like), self._checkpoints.record(place)
        self.spent |= record["spent"]
        rows = tuple(record["metrics"])
        tree = self._layout.place(tree)
        return Stand(place.step, tree["state"], tree["totals"], rows, record["best"])

    def is_due(self, *, before_evaluation: bool = False) -> bool:
        """Whether the last time is long enough ago, and the disk has done with it.

        Raises:
            UserError: What was saved before could not be written.
        """
        if self._checkpoints.busy:
            return False
        self._checkpoints.wait()
        wait = self._every
        if before_evaluation:
            wait = min(wait, self._checkpoints.write_seconds / SHARE)
        return perf_counter() - self._saved >= wait

    def save(self, stand: Stand) -> None:
        """Write a checkpoint behind the training, unless this very one was.

        Raises:
            UserError: What was saved before could not be written.
        """
        if stand.place == self._last:
            return
        record = {
            "spent": {**self.spent, "seconds": self.seconds()},
            "metrics": stand.rows,
            "best": stand.best,
        }
        tree = {"state": stand.state, "totals": stand.totals}
        self._checkpoints.save(stand.place, tree, record)
        self._last, self._saved = stand.place, perf_counter()

    def wait(self) -> None:
        """Wait until all is on the disk; see :meth:`save`."""
        self._checkpoints.wait()

    def rescue(self, stand: Stand) -> int:
        """Save in the training's place, from any thread; return the step."""
        self.save(stand)
        self.wait()
        return stand.step
