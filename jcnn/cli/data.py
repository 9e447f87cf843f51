"""Get data sets and check them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jcnn.cli.options import Json, print_json, say
from jcnn.errors import UserError, counted

if TYPE_CHECKING:
    from jcnn.data.folder_check import Finding

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


def check(
    target: Annotated[
        Path, typer.Argument(metavar="NAME|FOLDER", help="A folder of own files, or a data set.")
    ],
    as_json: Json = False,
) -> None:
    """Find everything that is wrong with a folder of images or recordings, in one pass."""
    from jcnn.console import shown
    from jcnn.data import fetch as fetching
    from jcnn.data.folder_check import check_folder

    published = not target.exists() and str(target) in fetching.published()
    if published and not as_json:
        return verify(str(target))
    count, findings = _published(str(target)) if published else check_folder(target, shown)
    if as_json:
        rows = [f._asdict() | {"path": str(f.path)} for f in findings]
        print_json({"files": count, "findings": rows})
    else:
        for finding in findings:
            say(f"{finding.kind}: {finding.message}")
        found = counted(len(findings), "finding") if findings else "no findings"
        say(f"{counted(count, 'file')} in {target}, {found}")
    if findings:
        raise typer.Exit(1)


def _published(name: str) -> tuple[int, list[Finding]]:
    """Return a data set's count of files, and those that are not as published as findings."""
    from jcnn.data import fetch as fetching
    from jcnn.data.folder_check import Finding

    verdicts = fetching.verify(name)
    wrong = [v for v in verdicts if not v.intact]
    return len(verdicts), [Finding(v.file, v.verdict, f"{v.file}: {v.verdict}") for v in wrong]
