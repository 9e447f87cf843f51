"""The command ``jcnn``: its commands in their groups, and its exit codes."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Any

import typer

from jcnn import __version__
from jcnn.cli import (
    bench,
    catalogue,
    data,
    demo,
    export,
    inspection,
    mistakes,
    native,
    process,
    report,
    scale,
    streams,
    sweep,
    train,
    tune,
    weights,
)
from jcnn.cli.options import say
from jcnn.errors import UserError


def _group(text: str, *commands: Callable[..., Any], completion: bool = False) -> typer.Typer:
    group = typer.Typer(
        help=text,
        no_args_is_help=True,
        add_completion=completion,
        pretty_exceptions_enable=False,
    )
    for command in commands:
        group.command()(command)
    return group


app = _group(
    "Convolutional networks in JAX through explicit, proved gradients.",
    *(train.train, train.evaluate, train.predict),
    *(inspection.summary, inspection.check, inspection.verify),
    *(bench.bench, tune.tune, native.native, scale.scale),
    *(report.report, report.compare, export.export, sweep.sweep, demo.demo),
    *(catalogue.init, catalogue.layers, catalogue.optimizers, catalogue.schedules),
    completion=True,
)
app.add_typer(
    _group("Get data sets and check them.", data.fetch, data.verify, data.check), name="data"
)
app.add_typer(
    _group("Weights in PyTorch's names and layout.", weights.save, weights.load), name="weights"
)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"jcnn {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and end."
        ),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 2 for what the user can mend.

    Args:
        arguments: The words after ``jcnn``; where not given, those of this process, which may then
            start itself again with another allocator.
    """
    if arguments is None:
        arguments = sys.argv[1:]
        process.tune_allocator(arguments)
    streams.prepare()
    process.leave_precision_alone()
    with streams.warnings_said():
        return _run(arguments)


def _run(arguments: Sequence[str]) -> int:
    try:
        _check_words(arguments)
        app(args=list(arguments), prog_name="jcnn")
        sys.stdout.flush()
    except SystemExit as end:
        if mistakes.is_unread(end.__context__):
            return mistakes.leave_unread()  # Typer's code is 1, as if a check had failed
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:
        if mistakes.is_unread(error):
            return mistakes.leave_unread()
        sentence = mistakes.sentence_of(error)
        if sentence is None:
            raise
        if isinstance(error, OSError) and error.filename is None:
            streams.silence(sys.stdout)  # all that is written without a name is what is printed
        say(f"jcnn: {mistakes.shortened(sentence)}", error=True)
        return 2
    return 0


def _check_words(arguments: Sequence[str]) -> None:
    """Refuse an empty word, which would be taken for the folder that one is in."""
    for before, word in pairwise(("jcnn", *arguments)):
        valueless = re.fullmatch("--[a-z-]+=", word)
        if valueless or not word.strip():
            place = f"nothing stands behind '{word if valueless else before}'"
            raise UserError(f"{place}: expected a value; a variable of the shell may not be set")
