"""A run's network for elsewhere."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from jcnn.cli.options import DataOverrides, Json, RunFolder, parsed, print_json, say


def export(
    run: RunFolder,
    format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="onnx, stablehlo or safetensors.")
    ],
    overrides: DataOverrides = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where model.FORMAT and README.md are written.",
            show_default="RUN/export",
        ),
    ] = None,
    hard: Annotated[
        bool,
        typer.Option("--hard", help="Decisions: arg max for softmax, unit step, signum for tanh."),
    ] = False,
    license: Annotated[
        str, typer.Option("--license", metavar="NAME", help="The weights' licence, for the card.")
    ] = "unknown",
    as_json: Json = False,
) -> None:
    """Write a run's network for elsewhere, once the test set has shown that it is the same."""
    from jcnn import training
    from jcnn.export import export_run

    training.enable_compilation_cache()
    exported = export_run(run, format, out, hard=hard, license=license, overrides=parsed(overrides))
    if as_json:
        print_json(asdict(exported))
        return
    same = (
        "decisions are equal"
        if exported.largest_difference is None
        else f"outputs differ by {exported.largest_difference:.1e} at most"
    )
    say(
        f"{exported.path}: {exported.size:,} bytes; on {exported.examples:,} test examples "
        f"accuracy {exported.accuracy:.2%}, {same}"
    )
