"""A sweep's members, each an ordinary run: trained side by side, taken as they are, resumed."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from jcnn import processor
from jcnn.config import Experiment, load_experiment
from jcnn.errors import UserError, counted
from jcnn.folders import RUNS, SWEEP
from jcnn.runs import Run
from jcnn.runs.files import with_nulls, write_text
from jcnn.runs.statistics import Spread, spread
from jcnn.sweep.former import check_goes_on
from jcnn.sweep.plan import (
    Choices,
    Values,
    check_count,
    check_keys,
    combinations,
    drawn,
    name,
    typed,
)
from jcnn.sweep.search import Train, proposals_at_once, record, searched
from jcnn.training import NonFiniteError, evaluate, train
from jcnn.training.progress import SPLITS, Progress
from jcnn.training.sharing import Shared

_MOST_AT_ONCE = 4

Say = Callable[[str], None]


@dataclass(frozen=True)
class Combination:
    """One combination of values, and what its seeds gave.

    Attributes:
        values: The keys' values.
        runs: The members' folders.
        figures: By column ("test error %", "seconds", …; "train error %" where that was measured)
            mean, deviation and interval, of the members that have ended; empty where none has.
        diverged: The folders of members whose training stopped at what is not finite.
    """

    values: dict[str, Any]
    runs: list[str]
    figures: dict[str, Spread]
    diverged: list[str] = field(default_factory=list)

    @property
    def error(self) -> Spread | None:
        """What combinations are chosen by: the validation split's error where there is one."""
        return self.figures.get("validation error %", self.figures.get("test error %"))


@dataclass(frozen=True)
class Sweep:
    """What came out of all combinations, in the order in which they were trained."""

    config: str
    combinations: list[Combination]
    method: str = "grid"

    @property
    def best(self) -> Combination:
        """The combination of the smallest mean error, the first of equal ones.

        One of which a member diverged comes after all of which none did.
        """

        def order(each: Combination) -> tuple[bool, float]:
            return bool(each.diverged), each.error.mean if each.error else math.inf

        return min(self.combinations, key=order)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON writes it."""
        return asdict(self)


class _Stopped(Exception):  # noqa: N818 (a request that was granted, not an error)
    """Another member failed, or somebody pressed Ctrl-C."""


class _Watched(Progress):
    """Ends a member's training at its next dispatch once ``stop`` is set."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def stepped(self, *_: Any) -> None:
        """See :meth:`Progress.stepped`."""
        if self._stop.is_set():
            raise _Stopped


def run_sweep(
    config: str | PathLike[str],
    choices: Choices,
    *,
    seeds: int = 1,
    out: str | PathLike[str] | None = None,
    overrides: Mapping[str, object] | None = None,
    method: str = "grid",
    count: int = 10,
    at_once: int | None = None,
    train_split: bool = False,
    say: Say = lambda line: None,
) -> Sweep:
    """Train an experiment for every combination of values and every seed.

    A member that is there already is taken as it is, or resumed, so that a sweep that was killed
    goes on with the same call. Members are trained side by side in threads, in one process: on two
    cores two small networks take hardly longer than one. The seeds of a combination share one
    compiled program, and all members that read the same data share those.

    Args:
        config: The experiment's file.
        choices: By dotted key its values, or a range; at most 10,000 combinations.
        seeds: Seeds 0 to this less one, of each combination.
        out: The folder; ``runs/NAME-sweep`` where not given. Members lie in it as
            ``COMBINATION/SEED``, without combinations as ``SEED``.
        overrides: Other values for keys of the file, for all members; neither the seed nor what
            ``choices`` give.
        method: "grid", "random" or "search" (Optuna's TPE on the mean error).
        count: Combinations of "random" and "search".
        at_once: Members side by side; where not given, as many as cores on a CPU, at most four,
            and one elsewhere. Where given, a search proposes as many combinations at a time as
            fill them, else one; one that goes on proposes as many as when it began.
        train_split: Whether to measure each network on its training split, too.
        say: Told of each member that has ended.

    Raises:
        UserError: A value is refused, every member diverged, ``out`` holds runs of another
            experiment or a sweep of which this one leaves members out, Optuna is missing.
    """
    check_count("seeds", seeds)
    check_count("combinations", count)
    config, base = Path(config), dict(overrides or {})
    check_keys(choices, base)
    first = load_experiment(config, base)
    if method != "grid" and not choices:
        raise UserError(
            f"a sweep by {method} varies keys: expected --over, or over in the file's [sweep], "
            "found neither"
        )
    choices = typed(choices, first)
    folder = Path(out) if out is not None else Path(RUNS) / f"{first.name}-sweep"
    sweep = _Members(config, base, folder, seeds, at_once or _at_once(), train_split, say)
    check = partial(check_goes_on, folder, choices, seeds, method)
    if method == "search":
        check(None)
        batch = max(1, (at_once or 1) // seeds)
        results = searched(choices, count, *sweep.in_search(batch))
        check([each.values for each in results])
    else:
        planned = combinations(choices) if method == "grid" else drawn(choices, count)
        if method == "random" and len(planned) < count:
            found = counted(len(planned), "combination")
            say(f"{found} of these values, fewer than the {count:,} asked for")
        check(planned)
        results = sweep.all(planned)
    done = Sweep(str(config), results, method)
    if not any(each.figures for each in results):
        raise UserError("every member diverged: nothing is left to compare")
    write_text(folder / SWEEP, json.dumps(with_nulls(done.to_dict()), indent=2) + "\n")
    return done


def _at_once() -> int:
    import jax

    if jax.default_backend() != "cpu":
        return 1
    return min(processor.cores(), _MOST_AT_ONCE)


class _Members:
    """Trains members of a sweep."""

    def __init__(
        self, config: Path, base: dict[str, object], folder: Path, seeds: int, at_once: int,
        train_split: bool, say: Say,
    ) -> None:  # fmt: skip
        self._config, self._base, self._folder = config, base, folder
        self._seeds, self._at_once = seeds, at_once
        self._train_split, self._say = train_split, say
        self._shared = Shared()

    def all(self, planned: Sequence[Mapping[str, object]]) -> list[Combination]:
        """Train every member of these combinations."""
        members = self._checked(planned)
        summaries = self._trained(members)
        results = []
        for k, values in enumerate(planned):
            own = slice(k * self._seeds, (k + 1) * self._seeds)
            runs = [str(folder) for folder, _ in members[own]]
            ended = [summary for summary in summaries[own] if summary is not None]
            pairs = zip(runs, summaries[own], strict=True)
            diverged = [run for run, summary in pairs if summary is None]
            results.append(Combination(dict(values), runs, _figures(ended), diverged))
        return results

    def in_search(self, wanted: int) -> tuple[int, Train]:
        """Return how many combinations a search proposes at a time, and what trains them."""
        at_once = proposals_at_once(self._folder, wanted, self._say)

        def trained(planned: Sequence[Values]) -> list[Combination]:
            self._checked(planned)  # where nothing can be trained, nothing has begun
            record(self._folder, at_once)
            return self.all(planned)

        return at_once, trained

    def _checked(self, planned: Sequence[Values]) -> list[tuple[Path, Experiment]]:
        """Return the members of these combinations; none is another experiment's run."""
        members = [
            (self._place(values, seed), self._experiment(values, seed))
            for values in planned
            for seed in range(self._seeds)
        ]
        for folder, experiment in members:  # all of them, before the first one is trained
            _check(folder, experiment)
        return members

    def _place(self, values: Mapping[str, object], seed: int) -> Path:
        return (self._folder / name(values) if values else self._folder) / str(seed)

    def _experiment(self, values: Mapping[str, object], seed: int) -> Experiment:
        overrides = {**self._base, **values, "seed": seed}
        try:
            return load_experiment(self._config, overrides).resolved()
        except UserError as error:
            words = str(error)
            for key in values:  # given by --over, though they are set like others
                words = re.sub(rf"^--set (?={re.escape(key)}\b)", "--over ", words)
            raise UserError(words) from error

    def _trained(self, members: list[tuple[Path, Experiment]]) -> list[dict[str, Any] | None]:
        # Loaded here: threads that load modules of one another at once meet half of them.
        import tensorboardX  # noqa: F401

        import jcnn.runs.checkpoints  # noqa: F401

        stop = threading.Event()
        with ThreadPoolExecutor(self._at_once) as pool:
            waiting = [pool.submit(self._member, *member, stop) for member in members]
            try:
                ended, _ = wait(waiting, return_when=FIRST_EXCEPTION)
                for failed in (future.exception() for future in ended):
                    if failed is not None:
                        raise failed
            except BaseException:
                stop.set()  # the others end at their next dispatch
                for future in waiting:
                    future.cancel()
                raise
        return [future.result() for future in waiting]

    def _member(
        self, folder: Path, experiment: Experiment, stop: threading.Event
    ) -> dict[str, Any] | None:
        """Return what came out of a member, None where it diverged: the others go on."""
        if stop.is_set():
            raise _Stopped
        run = Run(folder)
        if not run.summary_file.exists():
            watched = _Watched(stop)
            how = {"progress": watched, "shared": self._shared}
            try:
                train(experiment, folder, resume=run.exists() and run.has_learned(), **how)
            except NonFiniteError as error:
                self._say(f"{folder}: {error}")
                return None
        summary = run.summary()
        # what that holds of the training split is a mean over steps on the way
        summary.pop("train", None)
        if self._train_split:
            summary["train"] = evaluate(folder, "train")
        errors = ", ".join(
            f"{split} error {100 * (1 - summary[split]['accuracy']):.2f} %"
            for split in SPLITS
            if split in summary
        )
        self._say(f"{folder}: {errors}")
        return summary


def _check(folder: Path, experiment: Experiment) -> None:
    run = Run(folder)
    if run.exists() and run.has_learned() and run.experiment().resolved() != experiment:
        raise UserError(f"'{folder}' holds a run of another experiment; give another --out")


def _figures(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Spread]:
    columns: dict[str, list[float]] = {}
    for summary in summaries:
        for split in (each for each in ("validation", "test", "train") if each in summary):
            columns.setdefault(f"{split} error %", []).append(
                100 * (1 - summary[split]["accuracy"])
            )
            loss = summary[split]["loss"]
            columns.setdefault(f"{split} loss", []).append(float("inf") if loss is None else loss)
        columns.setdefault("seconds", []).append(summary["seconds"])
    most = {column: 100.0 if column.endswith("%") else math.inf for column in columns}
    return {column: spread(v, within=(0.0, most[column])) for column, v in columns.items()}
