"""Predict how a step scales over devices that need not be there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jcnn.cli.options import Config, Json, Overrides, load, print_json, say


def scale(
    config: Config,
    devices: Annotated[
        str, typer.Option("--devices", metavar="N,N,…", help="Counts of devices.")
    ] = "8,64,512",
    chip_name: Annotated[
        str, typer.Option("--chip", metavar="NAME", help="v5e, v5p or h100.")
    ] = "v5e",
    overrides: Overrides = None,
    examples: Annotated[
        int | None,
        typer.Option(
            "--examples", min=1, metavar="N", help="How many an epoch has; shows epochs per hour."
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw how it scales.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Predict a step's time on many devices, from programs compiled for them; none is needed."""
    experiment = load(config, overrides)
    from jcnn import benchmark, scaling

    chip, counts = scaling.chip_of(chip_name), scaling.parse_counts(devices)
    if plot:
        benchmark.check_plot(plot)
    scaling.provide_virtual(max(counts))
    result = scaling.predict(
        experiment, chip, counts, report=lambda line: say(f"compiling for {line}", error=True)
    )
    if plot:
        scaling.save_plot(result, plot)
    if as_json:
        print_json(result.to_dict(examples))
    else:
        scaling.print_scaling(result, examples)
