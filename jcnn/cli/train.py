"""Train an experiment, measure what it has learned, and predict with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from jcnn.cli import process
from jcnn.cli.options import (
    Config,
    Json,
    Out,
    Overrides,
    RunFolder,
    load,
    parsed,
    print_json,
    say,
    say_allocator_note,
)
from jcnn.errors import UserError


def train(
    config: Config,
    overrides: Overrides = None,
    out: Out = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out (or the run CONFIG names).")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train an experiment and write a run's folder."""
    process.leave_on_signals()
    if resume and out is None and config.is_dir():
        out = config
        config = out / "experiment.toml"
    if resume and out is None:
        raise UserError("--resume needs the run's folder: --out DIR, or `jcnn train DIR --resume`")
    experiment = load(config, overrides)
    from jcnn import runs, training

    say_allocator_note()
    out = out or runs.unused_folder(experiment.name)
    training.enable_compilation_cache()
    progress = training.choose_progress(sys.stderr if as_json else sys.stdout)
    try:
        with training.Interruption(process.leaving(out)) as interruption:
            summary = training.train(
                experiment, out, resume=resume, progress=progress, interruption=interruption
            )
    except training.Interrupted as interrupted:
        say(process.stopped(out, interrupted.step), error=True)
        process.end(128 + interrupted.signal_number)
    except training.NonFiniteError as error:
        say(f"jcnn: {error}", error=True)
        raise typer.Exit(3) from None
    if as_json:
        print_json({**summary, "run": str(out)})
    else:
        test = summary["test"]
        say(
            f"test accuracy {test['accuracy']:.2%} in {summary['seconds']:.1f} s "
            f"({summary['compile_seconds']:.1f} s of it compiling); run in {out}"
        )


def evaluate(
    run: RunFolder,
    split: Annotated[str, typer.Option("--split", help="test or train.")] = "test",
    overrides: Overrides = None,
    best: Annotated[
        bool, typer.Option("--best", help="The best checkpoint (training.keep_best).")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure a run's network."""
    if split not in ("train", "test"):
        raise UserError(f"--split is '{split}'; expected 'test' or 'train'")
    from jcnn import training

    training.enable_compilation_cache()
    result = training.evaluate(run, split, parsed(overrides), best=best)
    if as_json:
        print_json(result)
    else:
        say(
            f"{result['split']} loss {result['loss']:.4f}  accuracy {result['accuracy']:.2%}  "
            f"(step {result['step']})"
        )


def predict(
    run: RunFolder,
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Images or recordings.")],
    invert: Annotated[
        bool, typer.Option("--invert", help="Exchange black and white first.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Name the class of each file."""
    from jcnn import training

    training.enable_compilation_cache()
    results = training.predict(run, files, invert=invert)
    if as_json:
        print_json({"predictions": results})
        return
    for result in results:
        say(f"{result['file']}  {result['class']}  {result['probability']:.2%}")
