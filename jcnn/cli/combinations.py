"""Which options go with which: one that would do nothing is refused, and the reason told."""

from __future__ import annotations

from typing import NamedTuple

import typer

from jcnn.errors import UserError


class Without(NamedTuple):
    """An option or argument beside which others would do nothing.

    Attributes:
        option: As the help names it: ``--ops``, or ``CONFIG``.
        others: Likewise.
        why: What makes them do nothing.
    """

    option: str
    others: tuple[str, ...]
    why: str


class With(NamedTuple):
    """Options that do nothing without another one.

    Attributes:
        options: As the help names them.
        other: What they need, likewise.
        why: What they are for.
    """

    options: tuple[str, ...]
    other: str
    why: str


def check_options(context: typer.Context, *rules: Without | With) -> None:
    """Refuse options of which one or the other would do nothing.

    Args:
        context: What the command was given.
        rules: The first one that is broken is told.

    Raises:
        UserError: One is.
    """
    given = _given(context)
    for rule in rules:
        if isinstance(rule, With):
            found = [given[name] for name in rule.options if name in given]
            if found and rule.other not in given:
                raise UserError(f"{rule.why}: expected {rule.other} beside {' and '.join(found)}")
        elif rule.option in given:
            found = [given[name] for name in rule.others if name in given]
            if found:
                raise UserError(f"{rule.why}: expected {rule.option} without {' and '.join(found)}")


def _given(context: typer.Context) -> dict[str, str]:
    """Return what stands on the command line, by its name in the help, as it was written."""
    found = {}
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is None or source.name != "COMMANDLINE":
            continue
        option = parameter.param_type_name == "option"
        name = parameter.opts[0] if option else str(parameter.metavar)
        off = parameter.secondary_opts if context.params[str(parameter.name)] is False else ()
        found[name] = off[0] if off else name
    return found
