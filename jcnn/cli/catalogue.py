"""What a file may say, and a first file for one's own folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from jcnn.cli.options import Json, print_json, say
from jcnn.errors import UserError, command

Name = Annotated[
    str | None, typer.Argument(metavar="NAME", help="Only this one, with what its keys mean.")
]


def layers(name: Name = None, as_json: Json = False) -> None:
    """List the layers: their keys, defaults, and one line each."""
    from jcnn.inspection import catalogue

    _show(catalogue.chosen(catalogue.layer_entries(), name, "layers"), as_json)
    if not as_json:
        say(catalogue.shared_by_layers())


def optimizers(name: Name = None, as_json: Json = False) -> None:
    """List the optimizers, and what may stand before and after one: keys, defaults, one line."""
    from jcnn.inspection import catalogue

    entries = {**catalogue.optimizer_entries(), **catalogue.transformation_entries()}
    _show(catalogue.chosen(entries, name, "optimizers"), as_json)


def schedules(name: Name = None, as_json: Json = False) -> None:
    """List the schedules: their keys, defaults, and one line each."""
    from jcnn.inspection import catalogue

    _show(catalogue.chosen(catalogue.schedule_entries(), name, "schedules"), as_json)


def _show(entries: dict[str, Any], as_json: bool) -> None:
    from jcnn.inspection.catalogue import print_entries

    print_json(entries) if as_json else print_entries(entries)


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder of images or recordings per class.")
    ] = Path(),
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The file.", show_default="NAME OF DIR.toml"),
    ] = None,
) -> None:
    """Write a first experiment for a folder of one's own images or recordings."""
    from jcnn.config import load_experiment
    from jcnn.inspection.own_folder import look
    from jcnn.inspection.proposal import propose
    from jcnn.runs.files import write_text, writing

    found = look(folder)
    path = out or Path(f"{folder.resolve().name}.toml")
    if path.exists():
        raise UserError(f"'{path}' is there already; give another file (--out)")
    if not path.parent.is_dir():
        raise UserError(f"--out {path}: expected a file in an existing folder")
    with writing(f"'{path}'"):
        write_text(path, propose(found))
    try:
        load_experiment(path)
    except UserError:
        path.unlink()
        raise
    what = f"{found.count} {found.kind}, {len(found.classes)} classes, {found.splits}"
    say(f"{what}: wrote {path}")
    say(f"next: {command('train', path)}")
