"""Options that several commands take, and how each command reads and prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jcnn.cli import process, streams

if TYPE_CHECKING:
    from jcnn.config import Experiment

# What CONFIG may be, wherever it stands: jcnn.config finds either.
CONFIG = "An experiment's TOML file, or the name of one that comes with jcnn, such as digits"
Config = Annotated[Path, typer.Argument(metavar="CONFIG", help=f"{CONFIG}.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=VALUE", help="Change a key of the experiment; repeatable."),
]
DataOverrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="data.KEY=VALUE", help="Change a key of data; repeatable."),
]
TargetOverrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="A.B=VALUE", help="Change a key, of RUN one of data; repeatable."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="The run's folder; else runs/NAME, NAME-2, …"),
]
Verbose = Annotated[bool, typer.Option("--verbose", help="Say what was set for this process, too.")]
Target = Annotated[Path, typer.Argument(metavar="CONFIG|RUN", help=f"{CONFIG}; or a run's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def load(config: Path, overrides: Sequence[str] | None) -> Experiment:
    """Read the experiment of a command's arguments."""
    from jcnn.config import load_experiment

    return load_experiment(config, parsed(overrides))


def load_target(target: Path, overrides: Sequence[str] | None) -> Experiment:
    """Read the experiment of a file, or of a run's folder, of which only the data may be others."""
    if not target.is_dir():
        return load(target, overrides)
    from jcnn.runs import Run

    return Run.open(target).experiment(parsed(overrides))


def parsed(overrides: Sequence[str] | None) -> dict[str, object]:
    """Read every ``--set``."""
    if not overrides:
        return {}
    from jcnn.config import parse_override

    return dict(parse_override(text) for text in overrides)


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object."""
    from jcnn.runs.files import with_nulls

    print(json.dumps(with_nulls(value), indent=2, allow_nan=False), flush=True)


def say(line: str, *, error: bool = False) -> None:
    """Print a line at once; what a file is called commands no terminal."""
    print(streams.harmless(line), file=sys.stderr if error else sys.stdout, flush=True)


def say_allocator_note(verbose: bool) -> None:
    """Say what was set right for this process, if anything was and someone wants to know."""
    if not verbose:
        return
    if note := process.allocator_note():
        say(f"jcnn: {note}", error=True)
