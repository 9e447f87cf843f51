"""The command line: parses, calls, prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jcnn import process
from jcnn.errors import UserError

if TYPE_CHECKING:
    from jcnn.experiment import Experiment

app = typer.Typer(
    help="Convolutional networks in JAX through explicit, proved gradients.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Get data sets and check them.", no_args_is_help=True)
app.add_typer(data_app, name="data")
weights_app = typer.Typer(help="Weights in PyTorch's names and layout.", no_args_is_help=True)
app.add_typer(weights_app, name="weights")

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="An experiment's TOML file.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=VALUE", help="Change a key of the experiment; repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
WeightFile = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="A .safetensors file, for example alexnet.safetensors."),
]
DataName = Annotated[str, typer.Argument(metavar="NAME", help="A data set, for example mnist.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 2 for what the user can mend.

    Args:
        arguments: The words after ``jcnn``; where not given, those of this process, which may then
            start itself again with another allocator.
    """
    if arguments is None:
        arguments = sys.argv[1:]
        process.tune_allocator(arguments)
    try:
        app(args=list(arguments), prog_name="jcnn")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except UserError as error:
        return _fail(str(error))
    except OSError as error:
        if error.filename is None:
            raise
        return _fail(f"'{error.filename}': {error.strerror}")
    return 0


@app.command()
def train(
    config: Config,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The run's folder; else runs/NAME, NAME-2, …"),
    ] = None,
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
    experiment = _load(config, overrides)
    from jcnn import training

    if note := process.allocator_note():
        _say(f"jcnn: {note}", error=True)
    out = out or training.unused_folder(experiment.name)
    training.enable_compilation_cache()
    progress = training.choose_progress(sys.stderr if as_json else sys.stdout)
    try:
        summary = training.train(experiment, out, resume=resume, progress=progress)
    except training.Interrupted as interrupted:
        _say(f"{interrupted}; continue with: jcnn train {out} --resume", error=True)
        raise typer.Exit(128 + interrupted.signal_number) from None
    if as_json:
        _print_json({**summary, "run": str(out)})
    else:
        test = summary["test"]
        _say(
            f"test accuracy {test['accuracy']:.2%} in {summary['seconds']:.1f} s "
            f"({summary['compile_seconds']:.1f} s of it compiling); run in {out}"
        )


@app.command()
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
    result = training.evaluate(run, split, _parsed(overrides))
    if as_json:
        _print_json(result)
    else:
        _say(
            f"{result['split']} loss {result['loss']:.4f}  accuracy {result['accuracy']:.2%}  "
            f"(step {result['step']})"
        )


@app.command()
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
        _print_json({"predictions": results})
        return
    for result in results:
        _say(f"{result['file']}  {result['class']}  {result['probability']:.2%}")


@app.command()
def summary(config: Config, overrides: Overrides = None, as_json: Json = False) -> None:
    """Show layers, shapes and what they cost."""
    experiment = _load(config, overrides)
    from jcnn.inspection.summary import print_summary, summarize

    summarized = summarize(experiment)
    if as_json:
        _print_json(summarized)
    else:
        print_summary(summarized)


@app.command()
def check(
    target: Annotated[
        Path, typer.Argument(metavar="CONFIG|RUN", help="An experiment's file, or a run's folder.")
    ],
    overrides: Overrides = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", min=1, help="Examples [4; --exact the experiment's own]."),
    ] = None,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="Whole numbers through the compiled program, compared with ==; a certificate.",
        ),
    ] = False,
    samples: Annotated[
        int, typer.Option("--samples", min=1, help="Elements a tensor to difference.")
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
        experiment = _load(target, overrides)
    if exact:
        return _certify(experiment, batch_size, as_json)
    choose = inspection.random_batch if random_batch else inspection.real_batch
    result = inspection.check_model(
        experiment,
        *choose(experiment, batch_size or 4),
        params=params,
        state=state,
        samples=samples,
        report=lambda line: _say(f"checking {line}", error=True),
    )
    if as_json:
        _print_json(result.to_dict())
    else:
        inspection.print_check(result)
    if not result.passed:
        raise typer.Exit(1)


def _certify(experiment: Experiment, batch_size: int | None, as_json: bool) -> None:
    from jcnn.inspection.certificate import certify, print_certificate
    from jcnn.proof import TooLargeError

    try:
        certificate = certify(
            experiment,
            batch_size=batch_size,
            report=lambda line: _say(f"comparing {line}", error=True),
        )
    except TooLargeError as error:
        raise UserError(f"{error} (--batch-size)") from None
    if as_json:
        _print_json(certificate.to_dict())
    else:
        print_certificate(certificate)
    if not certificate.passed:
        raise typer.Exit(1)


@app.command()
def bench(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="An experiment; not with --ops.")
    ] = None,
    overrides: Overrides = None,
    operations: Annotated[
        bool, typer.Option("--ops", help="A table of single operations in place of a step.")
    ] = False,
    only: Annotated[
        str, typer.Option("--only", metavar="TEXT", help="Of --ops, the rows that hold TEXT.")
    ] = "",
    show_plan: Annotated[
        bool, typer.Option("--plan", help="Measure nothing: show the lowerings chosen, and why.")
    ] = False,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Samples, at most.")] = 20,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", min=0, help="Time for each subject of a row [5; --ops 1]."),
    ] = None,
    scan_steps: Annotated[int, typer.Option("--scan-steps", min=2, help="Steps a scan.")] = 20,
    torch: Annotated[bool, typer.Option(help="Measure PyTorch too, where it is.")] = True,
    minimal_filtering: Annotated[
        bool | None, typer.Option(help="Whether Winograd's algorithm may be chosen.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the ratios.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    as_json: Json = False,
) -> None:
    """Measure speed and memory: explicit rules, jax.grad of the reference, and PyTorch."""
    if operations == (config is not None) or (operations and show_plan):
        raise UserError("bench needs either CONFIG (with --plan: its lowerings) or --ops")
    experiment = None if config is None else _load(config, overrides)
    from jcnn.inspection import benchmark

    effort = benchmark.Effort(repeats, seconds or (1.0 if operations else 5.0))
    common = {"effort": effort, "torch": torch, "report": partial(_say, error=True)}
    if plot:
        benchmark.check_plot(plot)
    with benchmark.filtering(minimal_filtering):
        if experiment is None:
            result = benchmark.bench_operations(benchmark.choose_cases(only), **common)
        elif show_plan:
            rows = benchmark.plan(experiment)
            return _print_json({"rows": rows}) if as_json else benchmark.print_plan(rows)
        else:
            result = benchmark.bench_step(experiment, scan_steps=scan_steps, **common)
    if plot:
        benchmark.save_plot(result, plot)
    if as_json:
        _print_json(result.to_dict())
    elif markdown:
        _say(benchmark.markdown(result))
    else:
        benchmark.print_benchmark(result)


@data_app.command("fetch")
def fetch_data(name: DataName) -> None:
    """Download a data set, or what is missing of it."""
    from jcnn.data.fetch import fetch

    for verdict in fetch(name, report=_say):
        _say(f"{verdict.file}: {verdict.verdict}")


@data_app.command("verify")
def verify_data(name: DataName) -> None:
    """Compare a data set's files with what was published."""
    from jcnn.data.fetch import verify

    verdicts = verify(name)
    for verdict in verdicts:
        _say(f"{verdict.file}: {verdict.verdict}")
    wrong = sum(not verdict.intact for verdict in verdicts)
    if wrong:
        raise UserError(
            f"{wrong} of {len(verdicts)} files of data set '{name}' are not as published; "
            f"`jcnn data fetch {name}` downloads them again"
        )


@weights_app.command("save")
def save_weights(run: RunFolder, file: WeightFile) -> None:
    """Write a run's weights to a .safetensors file, which PyTorch can load."""
    from jcnn import training

    names = training.save_weights(run, file)
    _say(f"{file}: {len(names)} tensors, {names[0]} to {names[-1]}")


@weights_app.command("load")
def load_weights(
    config: Config,
    file: WeightFile,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The run's folder; else runs/NAME, NAME-2, …"),
    ] = None,
) -> None:
    """Make a run out of a .safetensors file, to evaluate, predict with, or train further."""
    from jcnn import training

    experiment = _load(
        config, [*(overrides or ()), f"training.initial_weights={json.dumps(str(file))}"]
    )
    if note := process.allocator_note():
        _say(f"jcnn: {note}", error=True)
    out = out or training.unused_folder(experiment.name)
    training.load_weights(experiment, out)
    _say(f"run in {out}; train it further with: jcnn train {out} --resume")


def _load(config: Path, overrides: Sequence[str] | None) -> Experiment:
    from jcnn.experiment import load_experiment

    return load_experiment(config, _parsed(overrides))


def _parsed(overrides: Sequence[str] | None) -> dict[str, object]:
    if not overrides:
        return {}
    from jcnn.experiment import parse_override

    return dict(parse_override(text) for text in overrides)


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, indent=2))


def _say(line: str, *, error: bool = False) -> None:
    print(line, file=sys.stderr if error else sys.stdout, flush=True)


def _fail(message: str) -> int:
    _say(f"jcnn: {' '.join(message.split())}", error=True)
    return 2
