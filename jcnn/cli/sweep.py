"""One experiment many times."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from jcnn.cli.options import Config, Json, Overrides, parsed, print_json, say
from jcnn.departure import departure
from jcnn.errors import UserError


def sweep(
    config: Config,
    over: Annotated[
        list[str] | None,
        typer.Option(
            "--over",
            metavar="A.B=V1,V2,…",
            help="Values of a key, or LOW..HIGH with --random or --search: integers where both "
            "ends are, unless the key takes real numbers; repeatable, for other keys.",
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds",
            min=1,
            metavar="N",
            help="Seeds 0 to N - 1 of each combination.",
            show_default="1",
        ),
    ] = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The folder.", show_default="runs/NAME-sweep"),
    ] = None,
    random: Annotated[
        int | None, typer.Option("--random", min=1, metavar="N", help="Draw N combinations.")
    ] = None,
    search: Annotated[
        int | None, typer.Option("--search", min=1, metavar="N", help="Let Optuna propose N.")
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option(
            "--at-once",
            min=1,
            metavar="N",
            help="Trainings side by side; --search then proposes as many at a time.",
            show_default="as many as cores, at most 4; on a GPU 1; --search proposes one",
        ),
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="Measure on the training split, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train for every combination of values and every seed; the same call goes on after a kill."""
    if random is not None and search is not None:
        raise UserError("--random and --search exclude each other")
    from jcnn import training
    from jcnn.sweep import parse_choices, print_sweep, run_sweep, save_figure
    from jcnn.sweep.file import planned

    training.enable_compilation_cache()
    plan = planned(config)
    choices = parse_choices(over) if over else plan.choices()
    method = "search" if search else "random" if random else plan.method
    departure.words = "stopped; the same command goes on"
    done = run_sweep(
        config,
        choices,
        seeds=seeds or plan.seeds,
        out=out,
        overrides=parsed(overrides),
        method=method,
        count=search or random or plan.count,
        at_once=at_once,
        train_split=train,
        say=partial(say, error=True),
    )
    figure = Path(done.combinations[0].runs[0]).parent
    figure = (figure.parent if choices else figure) / "sweep.svg"
    save_figure(done, figure)
    if as_json:
        print_json(done.to_dict())
    else:
        print_sweep(done)
