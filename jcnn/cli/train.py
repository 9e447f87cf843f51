"""Train an experiment, measure what it has learned, and predict with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

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
        summary = training.train(experiment, out, resume=resume, progress=progress)
    except training.Interrupted as interrupted:
        say(f"{interrupted}; continue with: jcnn train {out} --resume", error=True)
        raise typer.Exit(128 + interrupted.signal_number) from None
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
    as_json: Json = False,
) -> None:
    """Measure a run's network."""
    if split not in ("train", "test"):
        raise UserError(f"--split is '{split}'; expected 'test' or 'train'")
    from jcnn import training

    training.enable_compilation_cache()
    result = training.evaluate(run, split, parsed(overrides))
    if as_json:
        print_json(result)
    else:
        say(
            f"{result['split']} loss {result['loss']:.4f}  accuracy {result['accuracy']:.2%}  "
            f"(step {result['step']})"
        )


def predict(
    run: RunFolder,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE…", help="Images or recordings, folders of them, or -."),
    ],
    invert: Annotated[
        bool, typer.Option("--invert", help="Exchange black and white first.")
    ] = False,
    top: Annotated[
        int, typer.Option("--top", min=1, metavar="N", help="The N most probable classes.")
    ] = 1,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a row per file.")] = False,
    explain: Annotated[
        Path | None,
        typer.Option(
            "--explain", metavar="DIR", help="Write each input's gradients over it as pictures."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Name the class of each file."""
    if as_csv and as_json:
        raise UserError("--csv and --json exclude each other")
    from jcnn import training
    from jcnn.cli import predictions

    training.enable_compilation_cache()
    with predictions.given(files) as paths:
        results = training.predict(run, paths, invert=invert)
        if explain is not None:
            from jcnn.report import explain as write_explanations

            written = write_explanations(run, paths, explain, invert=invert)
            say(f"{len(written)} pictures in {explain}", error=True)
    if as_json:
        return print_json({"predictions": results})
    table = predictions.Table(top) if as_csv else None
    for result in results:
        if table is None:
            say(predictions.line(result["file"], result["probabilities"], top))
        else:
            table.write(result["file"], result["probabilities"])
