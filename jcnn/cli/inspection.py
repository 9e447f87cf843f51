"""Show what a model is made of, and check its gradients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jcnn.cli.combinations import Without, check_options
from jcnn.cli.options import Json, Target, TargetOverrides, load_target, print_json, say
from jcnn.errors import UserError
from jcnn.remains import temporary_folder

if TYPE_CHECKING:
    from jcnn.config import Experiment
    from jcnn.data import Batch


_CHECKS = (
    Without("--exact", ("--rounding", "--failure"), "--exact is a check of its own"),
    Without("--rounding", ("--failure",), "--rounding is a check of its own"),
    Without(
        "--exact",
        ("--samples", "--random-batch"),
        "--exact compares every element, of whole numbers that it draws",
    ),
    Without("--rounding", ("--samples",), "--rounding compares every element"),
    Without(
        "--failure",
        ("--set", "--batch-size", "--samples", "--random-batch"),
        "--failure takes the step that RUN has kept",
    ),
)


def summary(target: Target, overrides: TargetOverrides = None, as_json: Json = False) -> None:
    """Show layers, shapes and what they cost."""
    experiment = load_target(target, overrides)
    from jcnn.inspection.summary import print_summary, summarize

    summarized = summarize(experiment)
    if as_json:
        print_json(summarized)
    else:
        print_summary(summarized)


def check(
    context: typer.Context,
    target: Target,
    overrides: TargetOverrides = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            min=1,
            metavar="N",
            help="Examples of the batch.",
            show_default="4; with --exact the experiment's own; with --rounding 32",
        ),
    ] = None,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="Whole numbers through the compiled program, compared with ==; a certificate.",
        ),
    ] = False,
    rounding: Annotated[
        bool,
        typer.Option(
            "--rounding", help="How far training's own precision carries gradients from exact ones."
        ),
    ] = False,
    samples: Annotated[
        int,
        typer.Option(
            "--samples", min=1, metavar="N", help="Elements per tensor held against differences."
        ),
    ] = 1000,
    failure: Annotated[
        bool,
        typer.Option("--failure", help="The step that stopped RUN: what first was not finite."),
    ] = False,
    random_batch: Annotated[
        bool, typer.Option("--random-batch", help="Noise instead of examples: needs no data.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check every gradient: against jax.grad, finite differences and second order, in float64."""
    from jcnn import inspection, training

    check_options(context, *_CHECKS)
    if failure:
        return _dissect(target, as_json)
    params, state = None, None
    experiment = load_target(target, overrides)
    if target.is_dir():
        learned = training.load_trained(target).state
        params, state = learned.params, learned.state
    if exact:
        return _certify(experiment, batch_size, as_json)
    choose = inspection.random_batch if random_batch else inspection.real_batch
    batch = choose(experiment, batch_size or (32 if rounding else 4))
    how: dict[str, Any] = {"params": params, "state": state}
    if rounding:
        return _round(experiment, batch, how, as_json)
    result = inspection.check_model(
        experiment,
        *batch,
        **how,
        samples=samples,
        report=lambda line: say(f"checking {line}", error=True),
    )
    if as_json:
        print_json(result.to_dict())
    else:
        inspection.print_check(result)
    if not result.passed:
        raise typer.Exit(1)


def verify(
    target: Target,
    kills: Annotated[
        int, typer.Option("--kills", min=1, metavar="N", help="How often it is killed.")
    ] = 5,
    overrides: TargetOverrides = None,
    seed: Annotated[
        int,
        typer.Option("--seed", metavar="N", help="What the moments of the kills are drawn from."),
    ] = 0,
    as_json: Json = False,
) -> None:
    """Train twice, undisturbed and killed at random moments, and compare every bit."""
    from jcnn import training
    from jcnn.inspection.verification import verify as verify_experiment
    from jcnn.inspection.verification_table import print_verification

    experiment = load_target(target, overrides)
    training.enable_compilation_cache()
    how = {"kills": kills, "seed": seed, "report": lambda line: say(line, error=True)}
    with temporary_folder(prefix="jcnn-verify-") as folder:
        verification = verify_experiment(experiment, folder, **how)
    if as_json:
        print_json(verification.to_dict())
    else:
        print_verification(verification)
    if not verification.passed:
        raise typer.Exit(1)


def _dissect(target: Path, as_json: bool) -> None:
    from jcnn import training
    from jcnn.inspection.failure import dissect, print_dissection

    dissection = dissect(training.load_failure(target))
    if as_json:
        print_json(dissection.to_dict())
    else:
        print_dissection(dissection)


def _round(experiment: Experiment, batch: Batch, how: dict[str, Any], as_json: bool) -> None:
    from jcnn.inspection.rounding import measure_rounding, print_rounding

    rounding = measure_rounding(
        experiment, *batch, **how, report=lambda line: say(f"computing {line}", error=True)
    )
    if as_json:
        print_json(rounding.to_dict())
    else:
        print_rounding(rounding)
    if not rounding.finite:
        raise typer.Exit(1)


def _certify(experiment: Experiment, batch_size: int | None, as_json: bool) -> None:
    from jcnn.inspection.certificate import certify, print_certificate
    from jcnn.proof import TooLargeError

    try:
        certificate = certify(
            experiment,
            batch_size=batch_size,
            report=lambda line: say(f"comparing {line}", error=True),
        )
    except TooLargeError as error:
        raise UserError(f"{error} (--batch-size)") from None
    if as_json:
        print_json(certificate.to_dict())
    else:
        print_certificate(certificate)
    if not certificate.passed:
        raise typer.Exit(1)
