"""Get data sets and check them."""

from __future__ import annotations

from typing import Annotated

import typer

from jcnn.cli.options import say
from jcnn.errors import UserError

DataName = Annotated[str, typer.Argument(metavar="NAME", help="A data set, for example mnist.")]


def fetch(name: DataName) -> None:
    """Download a data set, or what is missing of it."""
    from jcnn.data import fetch as fetching

    for verdict in fetching.fetch(name, report=say):
        say(f"{verdict.file}: {verdict.verdict}")


def verify(name: DataName) -> None:
    """Compare a data set's files with what was published."""
    from jcnn.data import fetch as fetching

    verdicts = fetching.verify(name)
    for verdict in verdicts:
        say(f"{verdict.file}: {verdict.verdict}")
    wrong = sum(not verdict.intact for verdict in verdicts)
    if wrong:
        raise UserError(
            f"{wrong} of {len(verdicts)} files of data set '{name}' are not as published; "
            f"`jcnn data fetch {name}` downloads them again"
        )
