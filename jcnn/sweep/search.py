"""A search: Optuna proposes combinations from what those before gave, some at a time."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jcnn.errors import UserError
from jcnn.runs.files import write_text, writing
from jcnn.sweep.plan import Choices, Range, Values, name

if TYPE_CHECKING:
    from jcnn.sweep.run import Combination

RECORD = "search.json"
_KEY = "proposals_at_once"

Train = Callable[[Sequence[Values]], "list[Combination]"]


def searched(choices: Choices, count: int, at_once: int, train: Train) -> list[Combination]:
    """Let Optuna propose; with its seed fixed, a call that goes on proposes the same again.

    Args:
        choices: By dotted key its values, or a range.
        count: How many proposals; each is trained once.
        at_once: How many are asked for before any of them has ended: while some are under way,
            Optuna takes them to be bad, and keeps away from them.
        train: Returns what combinations gave.

    Raises:
        UserError: Optuna is missing, or a value is refused.
    """
    study, failed = _study()
    seen: dict[str, Combination] = {}
    for done in range(0, count, at_once):
        trials = [study.ask() for _ in range(min(at_once, count - done))]
        asked = [
            {key: _proposed(trial, key, given) for key, given in choices.items()}
            for trial in trials
        ]
        new = {name(values): values for values in asked if name(values) not in seen}
        seen |= zip(new, train(list(new.values())), strict=True)
        for trial, values in zip(trials, asked, strict=True):
            found = seen[name(values)]
            if found.error is None or found.diverged:
                study.tell(trial, state=failed)
            else:
                study.tell(trial, -found.error.mean)
    return list(seen.values())


def proposals_at_once(folder: Path, wanted: int, say: Callable[[str], None]) -> int:
    """Return how many a search proposes at a time: as many as when it began, or others came out.

    Args:
        folder: The sweep's, where that is written.
        wanted: How many, where it begins.
        say: Told where another number than ``wanted`` is taken.

    Raises:
        UserError: What is written there is damaged.
    """
    found = _recorded(folder)
    if found not in (None, wanted):
        say(f"the search in {folder} goes on with {found} proposals at a time, as it began")
    return found or wanted


def record(folder: Path, at_once: int) -> None:
    """Write how many are proposed at a time.

    Raises:
        UserError: It can't be written.
    """
    file = folder / RECORD
    with writing(f"'{file}'"):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps({_KEY: at_once}) + "\n")


def _recorded(folder: Path) -> int | None:
    file = folder / RECORD
    if not file.exists():
        # of a search that began before this was written down, one after another
        return 1 if folder.is_dir() and any(each.is_dir() for each in folder.iterdir()) else None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))[_KEY]
    except (OSError, ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, int) or found < 1:
        raise UserError(f"'{file}': expected {_KEY}, at least 1, as jcnn wrote it; found another")
    return found


def _study() -> tuple[Any, Any]:
    """Return Optuna's study, and how a proposal ends that gave nothing."""
    try:
        import optuna
    except ModuleNotFoundError:
        raise UserError(
            "--search needs a package that is not installed: pip install 'jcnn[sweep]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        # the liar is experimental in Optuna 4, and its default in 5
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(seed=0, constant_liar=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    return study, optuna.trial.TrialState.FAIL


def _proposed(trial: Any, key: str, values: Sequence[object] | Range) -> object:
    if not isinstance(values, Range):
        return values[trial.suggest_categorical(key, list(range(len(values))))]
    if values.whole:
        return trial.suggest_int(key, values.low, values.high, log=values.logarithmic)
    proposed = trial.suggest_float(key, values.low, values.high, log=values.logarithmic)
    return values.within(proposed)
