"""A run as a page, and runs beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jcnn.cli.options import DataOverrides, Json, RunFolder, parsed, print_json, say
from jcnn.errors import UserError
from jcnn.folders import SWEEP


def report(
    run: RunFolder,
    overrides: DataOverrides = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The page.", show_default="RUN/report.html"),
    ] = None,
    examples: Annotated[
        list[int] | None,
        typer.Option(
            "--example",
            metavar="N",
            help="A test example whose backward pass is shown; repeatable.",
            show_default="the first, and the surest mistake",
        ),
    ] = None,
    taps: Annotated[
        list[str] | None,
        typer.Option(
            "--tap",
            metavar="LAYER=K,…,C,D",
            help="Write out the gradient of this tap, for example conv_1=0,2,0,5; repeatable.",
        ),
    ] = None,
) -> None:
    """Write a run's page: figures, mistakes, the model, and the backward pass made visible."""
    chosen = dict(_tap(text) for text in taps or ())
    from jcnn import training
    from jcnn.report import write_report

    training.enable_compilation_cache()
    how = {"examples": examples, "taps": chosen, "overrides": parsed(overrides)}
    say(f"report in {write_report(run, out, **how)}")


def _tap(text: str) -> tuple[str, tuple[int, ...]]:
    layer, _, indices = text.partition("=")
    try:
        return layer, tuple(int(index) for index in indices.split(","))
    except ValueError:
        raise UserError(f"--tap '{text}': expected LAYER=K,…,C,D, such as conv_1=0,2,0,5") from None


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Runs' folders; a sweep's stands for all its members."),
    ],
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page, with curves.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what differs between runs, and whether seeds explain the difference."""
    from jcnn.report import compare, comparison_page, print_comparison

    comparison = compare([run for folder in runs for run in _members(folder)])
    if html is not None:
        comparison_page(comparison, html)
    if as_json:
        print_json(comparison.to_dict())
    else:
        print_comparison(comparison)
        if html is not None:
            say(f"page in {html}")


def _members(folder: Path) -> list[Path]:
    """Return the runs of a sweep's folder; any other is one itself."""
    if not (folder / SWEEP).is_file():
        return [folder]
    from jcnn.sweep.former import members

    return members(folder)
