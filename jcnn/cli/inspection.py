"""Show what a model is made of, and check its gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jcnn.cli.options import Config, Json, Overrides, load, print_json, say
from jcnn.errors import UserError


def summary(config: Config, overrides: Overrides = None, as_json: Json = False) -> None:
    """Show layers, shapes and what they cost."""
    experiment = load(config, overrides)
    from jcnn.inspection.summary import print_summary, summarize

    summarized = summarize(experiment)
    if as_json:
        print_json(summarized)
    else:
        print_summary(summarized)


def check(
    target: Annotated[
        Path, typer.Argument(metavar="CONFIG|RUN", help="An experiment's file, or a run's folder.")
    ],
    overrides: Overrides = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Examples.")] = 4,
    samples: Annotated[
        int, typer.Option("--samples", min=1, help="Elements per tensor to difference.")
    ] = 1000,
    random_batch: Annotated[
        bool, typer.Option("--random-batch", help="Noise instead of examples: needs no data.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check every gradient: against jax.grad, finite differences and second order, in float64."""
    from jcnn import inspection, training

    params, state = None, None
    if target.is_dir():
        if overrides:
            raise UserError(f"--set changes an experiment's file, and {target} is a run's folder")
        trained = training.load_trained(target)
        experiment, params, state = trained.experiment, trained.state.params, trained.state.state
    else:
        experiment = load(target, overrides)
    choose = inspection.random_batch if random_batch else inspection.real_batch
    result = inspection.check_model(
        experiment,
        *choose(experiment, batch_size),
        params=params,
        state=state,
        samples=samples,
        report=lambda line: say(f"checking {line}", error=True),
    )
    if as_json:
        print_json(result.to_dict())
    else:
        inspection.print_check(result)
    if not result.passed:
        raise typer.Exit(1)
