"""Train an experiment, measure what it has learned, and predict with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, cast

import typer

from jcnn.cli import process, supervision, together
from jcnn.cli.options import (
    CONFIG,
    DataOverrides,
    Json,
    Out,
    Overrides,
    RunFolder,
    Verbose,
    load,
    parsed,
    print_json,
    say,
    say_allocator_note,
)
from jcnn.cli.streams import Patient, is_broken_pipe
from jcnn.errors import UserError, command, counted
from jcnn.folders import EXPERIMENT

if TYPE_CHECKING:
    from jcnn.config import Experiment
    from jcnn.training.processes import Alone


def train(
    config: Annotated[
        Path,
        typer.Argument(metavar="CONFIG", help=f"{CONFIG}; with --resume, a run's folder."),
    ],
    overrides: Overrides = None,
    out: Out = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out (or the run CONFIG names).")
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Write a trace of some steps for ui.perfetto.dev.")
    ] = False,
    distributed: Annotated[
        bool,
        typer.Option("--distributed", help="As one of several processes that run this command."),
    ] = False,
    coordinator: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where process 0 listens; else the cluster says."),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(metavar="N", help="How many processes there are; else the cluster says."),
    ] = None,
    process_index: Annotated[
        int | None,
        typer.Option(metavar="K", help="Which of them this is, from 0; else the cluster says."),
    ] = None,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Train an experiment and write a run's folder."""
    together.check_options(distributed, coordinator, processes, process_index)
    if distributed and not supervision.is_supervised():
        supervision.supervise()
    if resume and out is None and config.is_dir():
        out = config
        config = out / EXPERIMENT
    if resume and out is None:
        found = "a file" if config.is_file() else "a folder that does not exist"
        raise UserError(
            "--resume needs the run's folder: --out DIR, or `jcnn train DIR --resume`; found "
            f"'{config}', {found}"
        )
    if config.is_dir() and (config / EXPERIMENT).is_file():
        raise UserError(
            f"{config} is a run's folder: add --resume to go on with it, or train its experiment "
            f"anew with `{command('train', config / EXPERIMENT)}`"
        )
    experiment = load(config, overrides)
    say_allocator_note(verbose)
    how: dict[str, Any] = {"resume": resume, "profile": profile, "as_json": as_json}
    if distributed:
        joins = {"coordinator": coordinator, "processes": processes, "process_index": process_index}
        together.train(experiment, out, joins, _train, **how)
    else:
        from jcnn import runs

        _train(experiment, out or runs.unused_folder(experiment.name), **how)


def _train(
    experiment: Experiment,
    out: Path,
    *,
    resume: bool,
    profile: bool,
    as_json: bool,
    processes: Alone | None = None,
) -> None:
    """Train, show how it goes, and end as it ends."""
    from jcnn import training
    from jcnn.training.processes import ALONE

    processes = processes or ALONE
    training.enable_compilation_cache()
    patient = Patient(sys.stderr if as_json else sys.stdout)
    shown = cast(IO[str], patient)
    progress = training.choose_progress(shown) if processes.writes else training.Progress()
    if profile and processes.writes:
        progress = training.Profile(progress, out / "profile")
    try:
        leaving = process.leaving(out, silently=not processes.writes)
        with training.Interruption(leaving) as interruption:
            how = {"progress": progress, "interruption": interruption, "processes": processes}
            summary = training.train(experiment, out, resume=resume, **how)
    except training.Interrupted as interrupted:
        if processes.writes:
            say(process.stopped(out, interrupted.step), error=True)
        processes.leave()
        process.end(128 + interrupted.signal_number)
    except training.NonFiniteError as error:
        if processes.writes:
            say(f"jcnn: {error}", error=True)
        raise typer.Exit(3) from None
    if not processes.writes:
        return
    if as_json:
        print_json({**summary, "run": str(out)})
    else:
        print(outcome(summary, experiment, out), file=shown, flush=True)
    if patient.failure and not is_broken_pipe(patient.failure):
        raise patient.failure


def outcome(summary: dict[str, Any], experiment: Experiment, out: Path) -> str:
    """Say what came out: the figures, of which step they are, and what ended the training."""
    from jcnn.training.stopping import keeps_best

    test, best, steps = summary["test"], summary["best_step"], summary["steps"]
    said = {
        None: [],
        "early_stopping": ["stopped early"],
        "max_seconds": [f"stopped by training.max_seconds after {counted(steps, 'step')}"],
    }[summary["stopped_by"]]
    if keeps_best(experiment) and best not in (None, steps):
        said.append(f"of step {best}, the best")
    why = f" ({'; '.join(said)})" if said else ""
    validation = summary.get("validation")
    watched = f"validation accuracy {validation['accuracy']:.2%}, " if validation else ""
    return (
        f"{watched}test accuracy {test['accuracy']:.2%}{why} in {summary['seconds']:.1f} s "
        f"({summary['compile_seconds']:.1f} s of it compiling); run in {out}"
    )


def evaluate(
    run: RunFolder,
    split: Annotated[
        str, typer.Option("--split", metavar="NAME", help="test, train or validation.")
    ] = "test",
    overrides: DataOverrides = None,
    details: Annotated[
        bool,
        typer.Option("--details", help="Top-5 accuracy, F1, each class's recall, confusions too."),
    ] = False,
    best: Annotated[
        bool, typer.Option("--best", help="The best checkpoint (training.keep_best).")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure a run's network."""
    if split not in ("train", "test", "validation"):
        raise UserError(f"--split is '{split}'; expected 'test', 'train' or 'validation'")
    from jcnn import training
    from jcnn.training.metrics import ALL

    training.enable_compilation_cache()
    metrics = ALL if details else ()
    result = training.evaluate(run, split, parsed(overrides), metrics, best=best)
    if as_json:
        print_json(result)
        return
    say(
        f"{result['split']} loss {result['loss']:.4f}  accuracy {result['accuracy']:.2%}  "
        f"(step {result['step']})"
    )
    if details:
        # Among five classes or fewer every class is one of the five.
        five = f"top-5 accuracy {result['top_5']:.2%}  " if len(result["recall"]) > 5 else ""
        say(f"{five}F1 (mean over classes) {result['f1']:.4f}")
        for line in _confusions(result):
            say(line)


def _confusions(result: dict[str, Any]) -> Iterator[str]:
    """A line for each class: its recall, and what it was taken for most."""
    names = list(result["recall"])
    width = max(map(len, names))
    for name, row in zip(names, result["confusion_matrix"], strict=True):
        wrong = sorted(((n, other) for n, other in zip(row, names, strict=True) if n), reverse=True)
        taken = ", ".join(f"{other} ({n}×)" for n, other in wrong if other != name)
        line = f"  {name:<{width}}  recall {result['recall'][name]:>7.2%} of {sum(row)}"
        yield line + (f"; taken for {taken}" if taken else "")


def predict(
    run: RunFolder,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Images or recordings, folders of them, or -."),
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
    """Name the class of each file; a file that can't be read is passed over, and named at last."""
    if as_csv and as_json:
        raise UserError("--csv and --json exclude each other")
    from jcnn import training
    from jcnn.cli import predictions

    training.enable_compilation_cache()
    with predictions.given(files) as (paths, standard_input):
        output = predictions.Output(top, as_csv=as_csv, as_json=as_json)
        for prediction in training.predictions(run, paths, invert=invert):
            output.add(predictions.as_given(prediction, standard_input))
        if explain is not None:
            from jcnn.report import explain as write_explanations

            written = write_explanations(run, paths, explain, invert=invert)
            say(f"{len(written)} pictures in {explain}", error=True)
    if not output.end():
        raise typer.Exit(1)
