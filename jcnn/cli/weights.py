"""Weights in PyTorch's names and layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jcnn.cli import options
from jcnn.cli.options import Config, Out, Overrides, RunFolder, Verbose, say, say_allocator_note
from jcnn.errors import command, counted

WeightFile = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="A .safetensors file, for example alexnet.safetensors."),
]


def save(run: RunFolder, file: WeightFile) -> None:
    """Write a run's weights to a .safetensors file, which PyTorch can load."""
    from jcnn import training

    names = training.save_weights(run, file)
    say(f"{file}: {counted(len(names), 'tensor')}, {names[0]} to {names[-1]}")


def load(
    config: Config,
    file: WeightFile,
    overrides: Overrides = None,
    out: Out = None,
    verbose: Verbose = False,
) -> None:
    """Make a run out of a .safetensors file, to evaluate, predict with, or train further."""
    from jcnn import runs, training
    from jcnn.config import load_experiment

    named = {"training.initial_weights.file": str(file)}
    experiment = load_experiment(config, options.parsed(overrides) | named)
    say_allocator_note(verbose)
    out = out or runs.unused_folder(experiment.name)
    training.load_weights(experiment, out)
    say(f"run in {out}; train it further with: {command('train', out, '--resume')}")
