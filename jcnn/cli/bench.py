"""Measure speed and memory, and show which lowerings are chosen."""

from __future__ import annotations

from functools import partial
from math import isfinite
from pathlib import Path
from typing import Annotated

import typer

from jcnn.cli.combinations import With, Without, check_options
from jcnn.cli.options import CONFIG, Json, Overrides, load, print_json, say
from jcnn.errors import UserError

_SHOWN = ("--repeats", "--seconds", "--scan-steps", "--torch", "--plot", "--markdown")
_RULES = (
    Without("--ops", ("--set", "--scan-steps"), "--ops measures operations, and no experiment"),
    With(("--only",), "--ops", "--only chooses among the operations of --ops"),
    Without("--plan", _SHOWN, "--plan measures nothing, and prints a table or JSON"),
    Without("--json", ("--markdown",), "--json prints one JSON object and nothing else"),
)


def bench(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG", help=f"{CONFIG}; not with --ops.")
    ] = None,
    overrides: Overrides = None,
    operations: Annotated[
        bool, typer.Option("--ops", help="A table of single operations in place of a step.")
    ] = False,
    only: Annotated[
        str, typer.Option("--only", metavar="TEXT", help="With --ops, rows with TEXT alone.")
    ] = "",
    show_plan: Annotated[
        bool, typer.Option("--plan", help="Measure nothing: show the lowerings chosen, and why.")
    ] = False,
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, metavar="N", help="Samples, at most.")
    ] = 20,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds",
            min=0,
            metavar="S",
            help="Time for each subject of a row.",
            show_default="5; with --ops 1",
        ),
    ] = None,
    scan_steps: Annotated[
        int,
        typer.Option(
            "--scan-steps",
            metavar="N",
            min=0,
            help="Steps per scan; 0: no scan, which takes minutes for a large network.",
        ),
    ] = 20,
    torch: Annotated[bool, typer.Option(help="Measure PyTorch too, where it is.")] = True,
    winograd: Annotated[
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
    check_options(context, *_RULES)
    if scan_steps == 1:
        raise UserError("--scan-steps 1: expected 0, or at least 2")
    if seconds is not None and not isfinite(seconds):
        raise UserError(f"--seconds: expected a number of seconds, found {seconds}")
    experiment = None if config is None else load(config, overrides)
    from jcnn import benchmark

    effort = benchmark.Effort(repeats, (1.0 if operations else 5.0) if seconds is None else seconds)
    common = {"effort": effort, "torch": torch, "report": partial(say, error=True)}
    if plot:
        benchmark.check_plot(plot)
    with benchmark.winograd_allowed(winograd):
        if experiment is None:
            result = benchmark.bench_operations(benchmark.choose_cases(only), **common)
        elif show_plan:
            rows = benchmark.plan(experiment)
            return print_json({"rows": rows}) if as_json else benchmark.print_plan(rows)
        else:
            result = benchmark.bench_step(experiment, scan_steps=scan_steps, **common)
    if plot:
        benchmark.save_plot(result, plot)
    if as_json:
        print_json(result.to_dict())
    elif markdown:
        say(benchmark.markdown(result))
    else:
        benchmark.print_benchmark(result)
