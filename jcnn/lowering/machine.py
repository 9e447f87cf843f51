"""The machine that lowerings are chosen for: what it has, and what its work costs.

A table holds the costs: that of ``jcnn tune`` for this very machine, or one that is shipped for
its kind of processor.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jcnn import processor
from jcnn.errors import UserError
from jcnn.folders import cache_folder
from jcnn.lowering.problem import Problem

# Tables of another number are not read: their costs have other meanings.
FORMAT = 1
SWITCH = "JCNN_MACHINE"
_SHIPPED = Path(__file__).parent / "tables"
_KINDS = {"AVX-512": "avx512", "AVX2": "avx2"}
PLAIN, ZEN5 = "plain", "zen5"
_TABLES = (*_KINDS.values(), PLAIN, ZEN5)


@dataclass(frozen=True)
class Machine:
    """What the costs of lowerings depend on.

    Attributes:
        name: Which table its costs come from.
        cores: Cores that compute together.
        cache_bytes: Size of the largest cache.
        vector: Elements of float32 that one instruction computes.
        costs: Nanoseconds per unit of each kind of work, on ``costs_cores`` cores;
            :mod:`jcnn.lowering.costs` says what the kinds are.
        costs_cores: Cores that the costs were measured on.
        measured: Problems that were measured: seconds of each lowering. Not compared: the digest
            stands for it.
        digest: Of the table's content.
    """

    name: str
    cores: int
    cache_bytes: int
    vector: int
    costs: tuple[tuple[str, float], ...]
    costs_cores: int = 2
    measured: Mapping[Problem, Mapping[str, float]] = field(
        default_factory=lambda: MappingProxyType({}), compare=False, repr=False
    )
    digest: str = ""


@cache
def this_machine() -> Machine:
    """Return the machine that this process runs on, read once.

    JCNN_MACHINE names a table: "shipped" is the one for this kind of processor, "avx2", "avx512",
    "zen5" and "plain" are those that there are, anything else is a file that ``jcnn tune`` wrote.
    Where it is not set, the table of ``jcnn tune`` is taken if there is one.

    Raises:
        UserError: The table can't be read.
    """
    if wanted := os.environ.get(SWITCH, ""):
        try:
            return named(wanted)
        except UserError as error:
            raise UserError(f"{SWITCH}: {error}") from error
    return read(tuned) if current(tuned := table_path()) else named("shipped")


def named(name: str) -> Machine:
    """Return this machine with the costs of a table that is shipped, or of a file.

    Raises:
        UserError: There is no such table, or it can't be read.
    """
    kind = _kind() if name == "shipped" else name
    return read(_SHIPPED / f"{kind}.json" if kind in _TABLES else Path(name))


def _kind() -> str:
    """The table for this processor; that of AVX-512 is an Intel's."""
    kind = _KINDS.get(processor.instructions(), PLAIN)
    return ZEN5 if kind == "avx512" and processor.name().startswith("AMD") else kind


def table_path() -> Path:
    """Return the file of ``jcnn tune`` for this processor and this number of cores."""
    cores = processor.cores()
    words = f"{processor.name()} {processor.instructions()} {cores} core{'s' * (cores > 1)}"
    name = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
    return cache_folder() / "machines" / f"{name}.json"


def current(path: Path) -> bool:
    """Whether there is a table that this version can use."""
    try:
        found = path.is_file()
    except PermissionError:  # another's home
        return False
    return found and _content(path).get("format") == FORMAT


def read(path: Path) -> Machine:
    """Return this machine with the costs of a table.

    Raises:
        UserError: There is no such file, or it holds no table.
    """
    content = _content(path)
    if content.get("format") != FORMAT:
        raise UserError(
            f"the machine's table {path} is of another version of jcnn: expected format {FORMAT}, "
            f"found {content.get('format')!r}; `jcnn tune` writes a new one"
        )
    try:
        costs = tuple((kind, float(cost)) for kind, cost in sorted(content["costs"].items()))
        measured = {Problem.from_dict(row): dict(row["seconds"]) for row in content["problems"]}
        return Machine(
            name=f"{content['name']} ({content['date']})",
            cores=processor.cores(),
            cache_bytes=processor.cache_bytes(),
            vector=int(content["vector"]),
            costs=costs,
            costs_cores=int(content["cores"]),
            measured=MappingProxyType(measured),
            digest=sha256(path.read_bytes()).hexdigest()[:12],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"the machine's table {path} is damaged ({type(error).__name__}: {error}); `jcnn tune` "
            f"writes a new one, and {SWITCH}=shipped does without"
        ) from error


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        words = error.strerror if isinstance(error, OSError) else "it is not JSON"
        names = ", ".join(("shipped", *sorted(_TABLES)))
        remedy = f"expected one of {names}, or a file that `jcnn tune` wrote"
        if path == table_path():  # which nobody has named
            remedy = f"`jcnn tune` writes a new one, and {SWITCH}=shipped does without"
        raise UserError(f"the machine's table {path} can't be read ({words}): {remedy}") from error
    if not isinstance(content, dict):
        raise UserError(f"the machine's table {path} holds {type(content).__name__}, not a table")
    return content
