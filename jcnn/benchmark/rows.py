"""What a benchmark found: a row for each thing measured, and where it was measured."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from math import exp, log
from typing import Any

from jcnn.benchmark.timing import Timing
from jcnn.lowering import compiler_options
from jcnn.runs.environment import hardware, versions

OURS, THEIRS, PEER = "jcnn", "jax.grad", "torch"
COLUMNS = (OURS, THEIRS, PEER)
MILLISECONDS = 1e3


@dataclass(frozen=True)
class Row:
    """One thing measured.

    Attributes:
        what: What it is.
        unit: The unit of ``values``.
        values: Medians (or single figures) by column: "jcnn", "jax.grad", "torch".
        ratio: The others' value over jcnn's; larger is better. Empty where a larger value is.
        spread: By column: ``n``, ``min``, ``q1``, ``q3``.
        note: What must be known to read it.
    """

    what: str
    unit: str
    values: Mapping[str, float]
    ratio: Mapping[str, float]
    spread: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints of it; a column that was not measured is None."""
        return {
            "what": self.what,
            "unit": self.unit,
            **{column: self.values.get(column) for column in COLUMNS},
            "ratio": dict(self.ratio),
            "spread": {column: dict(spread) for column, spread in self.spread.items()},
            "note": self.note,
        }


def timed_row(what: str, timings: Mapping[str, Timing], note: str = "") -> Row:
    """Return the row of timings, in milliseconds."""
    values = {name: timing.median * MILLISECONDS for name, timing in timings.items()}
    spread = {name: timing.spread(MILLISECONDS) for name, timing in timings.items()}
    return Row(what, "ms", values, ratios(values), spread, note)


def ratios(values: Mapping[str, float]) -> dict[str, float]:
    """Return the others' values over ours.

    >>> ratios({"jcnn": 2.0, "jax.grad": 7.0})
    {'jax.grad': 3.5}
    """
    ours = values.get(OURS)
    if not ours:
        return {}
    return {name: value / ours for name, value in values.items() if name != OURS}


def geometric_mean(what: str, rows: list[Row]) -> Row:
    """Return the row of the geometric means of the rows' ratios."""
    means, lowest = {}, []
    for column in (THEIRS, PEER):
        found = [row.ratio[column] for row in rows if column in row.ratio]
        if found:
            means[column] = exp(sum(map(log, found)) / len(found))
            lowest.append(f"{column} {min(found):.2f}")
    note = f"over {len(rows)}; the smallest ratios: {', '.join(lowest)}"
    return Row(f"geometric mean: {what}", "", {}, means, note=note)


@dataclass(frozen=True)
class Benchmark:
    """All rows, and what they were measured with.

    Attributes:
        name: The experiment's name, or "operations".
        rows: The rows, in the order of the table.
        notes: Sentences that concern all rows.
        torch: PyTorch's version, or None where it took no part.
    """

    name: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    torch: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {
            "name": self.name,
            "rows": [row.to_dict() for row in self.rows],
            "notes": list(self.notes),
            "versions": self.versions,
            "hardware": hardware(),
            "allocator": os.environ.get("JCNN_ALLOCATOR", "system"),
            "compiler_options": compiler_options(),
            "date": date.today().isoformat(),
        }

    @property
    def versions(self) -> dict[str, str]:
        """Versions of all that was measured."""
        return versions() | ({"torch": self.torch} if self.torch else {})
