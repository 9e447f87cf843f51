"""The pages' templates, and how numbers stand in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jcnn

_FOLDER = Path(__file__).parent / "templates"


def render(name: str, **values: Any) -> str:
    """Fill in a template; everything is escaped that is not markup."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, percent=percent, count=count)
    return environment.get_template(name).render(version=jcnn.__version__, **values)


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with a real minus sign.

    >>> number(-0.03125), number(None)
    ('−0.0312', '–')
    """
    return "–" if value is None else f"{value:.{digits}g}".replace("-", "−")


def percent(share: float | None, places: int = 1) -> str:
    """Write a share in percent.

    >>> percent(0.9444), percent(None)
    ('94.4\u202f%', '–')
    """
    return "–" if share is None else f"{share:.{places}%}".replace("%", "\u202f%")


def count(value: int) -> str:
    """Write a count with its thousands apart.

    >>> count(12345)
    '12,345'
    """
    return f"{value:,}"
