"""A formula as the page writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from markupsafe import Markup, escape


@dataclass(frozen=True)
class Formula:
    """A layer's formulas; ``_{…}`` is a subscript.

    Attributes:
        forward: What it computes.
        back: ∂L/∂a, what it passes back.
        kernel: ∂L/∂w, where it has one.
        bias: ∂L/∂b, likewise.
        source: Where the lectures derive it.
    """

    forward: str
    back: str
    kernel: str = ""
    bias: str = ""
    source: str = ""


def html(text: str) -> Markup:
    """Write a formula's subscripts for the page.

    >>> html("Σ_{m} δ[m]")
    Markup('Σ<sub>m</sub> δ[m]')
    """
    return Markup(re.sub(r"_\{([^}]*)\}", r"<sub>\1</sub>", str(escape(text))))
