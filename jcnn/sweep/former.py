"""The sweep that a folder holds already: whether another one goes on with it, and its members."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jcnn.errors import UserError, counted
from jcnn.folders import SWEEP
from jcnn.runs.files import with_nulls
from jcnn.sweep.plan import Values


def members(folder: Path) -> list[Path]:
    """Return the runs of the sweep that a folder holds, by combination and seed.

    Raises:
        UserError: What is written of them is damaged.
    """
    found = _read(folder)
    return [
        folder.joinpath(*Path(run).parts[-2 if each["values"] else -1 :])
        for each in (found["combinations"] if found else ())
        for run in each["runs"]
    ]


def check_goes_on(
    folder: Path, keys: Iterable[str], seeds: int, method: str, planned: Sequence[Values] | None
) -> None:
    """Refuse a folder whose sweep has members that this one leaves out: no table would have them.

    Args:
        folder: Where both lie.
        keys: What this one varies.
        seeds: How many seeds it has.
        method: How it chooses its combinations.
        planned: These; None where they are still to be proposed.

    Raises:
        UserError: It is another sweep, or what is written of it is damaged.
    """
    found = _read(folder)
    if found is None:
        return
    combinations = found["combinations"]
    before, now = sorted(combinations[0]["values"]), sorted(keys)
    by, most = found.get("method", method), max(len(each["runs"]) for each in combinations)
    if before != now:
        other = f"over {_listed(before)}, and this one is over {_listed(now)}"
    elif by != method and "search" in (by, method):
        other = f"by {by}, and this one is by {method}"
    elif most > seeds:
        other = f"of {counted(most, 'seed')}, and this one has {seeds}"
    elif lost := _left_out(combinations, planned):
        other = f"with {lost}, which this one leaves out"
    else:
        return
    raise UserError(f"'{folder}' holds a sweep {other}; give another --out")


def _listed(keys: Sequence[str]) -> str:
    return ", ".join(keys) or "seeds alone"


def _left_out(combinations: Sequence[Any], planned: Sequence[Values] | None) -> str:
    """Name the first combination that is not planned; nothing where all are."""
    if planned is None:
        return ""
    wanted = set(map(_written, planned))
    lost = (each["values"] for each in combinations if _written(each["values"]) not in wanted)
    return ", ".join(f"{key} = {value}" for key, value in next(lost, {}).items())


def _written(values: Values) -> str:
    return json.dumps(with_nulls(dict(values)), sort_keys=True)


def _read(folder: Path) -> dict[str, Any] | None:
    file = folder / SWEEP
    if not file.exists():
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        found = None
    rows = found.get("combinations") if isinstance(found, dict) else None
    if not isinstance(rows, list) or not rows or not all(map(_is_combination, rows)):
        raise UserError(f"'{file}' is damaged: expected a sweep's combinations and their runs")
    return found


def _is_combination(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("values"), dict) and bool(row.get("runs"))
