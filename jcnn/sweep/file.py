"""The table ``[sweep]`` of an experiment's file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jcnn.errors import UserError
from jcnn.sweep.plan import Plan
from jcnn.validation import explain


def planned(config: Path) -> Plan:
    """Read ``[sweep]``; one seed of the experiment as it is where the file has no such table.

    Raises:
        UserError: A key or a value is wrong. What else is wrong with the file is told when the
            experiment is read.
    """
    try:
        document = tomllib.loads(config.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return Plan()
    table = document.get("sweep", {})
    _check_quoted(config, table)
    try:
        return Plan.model_validate(table)
    except ValidationError as error:
        key, message = explain(error, Plan, table)
        place = f"sweep.{key}" if key else "sweep"
        raise UserError(f"{config}: {place}: {message}") from None


def _check_quoted(config: Path, table: Any) -> None:
    """Refuse tables among the values: TOML makes them of dotted keys without quotes."""
    over = table.get("over") if isinstance(table, dict) else None
    for key, value in over.items() if isinstance(over, dict) else ():
        path, inner = key, value
        while isinstance(inner, dict) and inner:
            part, inner = next(iter(inner.items()))
            path += f".{part}"
        if isinstance(value, dict):
            raise UserError(
                f'{config}: sweep.over.{path}: expected the key in quotes, "{path}" = …, found '
                "it without, of which TOML makes tables"
            )
