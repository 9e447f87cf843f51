"""Measure this machine for the choice of lowerings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import geometric_mean
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jcnn.cli.combinations import With, Without, check_options
from jcnn.cli.options import CONFIG, Json, Overrides, load, print_json, say
from jcnn.errors import UserError, command

if TYPE_CHECKING:
    from jcnn.benchmark import Judged
    from jcnn.config import Experiment
    from jcnn.lowering import Machine, Problem

# Drawn for the costs, and others to judge them by.
SEED, CHECK_SEED = 11, 2026
DRAWN, CHECKED = 120, 60
# To so many correlations a pool.
POOLED = 5
_REPORT = partial(say, error=True)
_RULES = (
    With(("--set",), "CONFIG", "--set changes an experiment"),
    Without("--like", ("--problems", "--skip"), "--like takes a table's problems"),
    With(("--left-out",), "--check", "--left-out judges a table"),
    Without("--left-out", ("--problems", "--skip"), "--left-out draws no problems"),
    Without(
        "--check",
        ("CONFIG", "--ops", "--like", "--out"),
        "--check judges problems of its own, and writes nothing",
    ),
)


def tune(
    context: typer.Context,
    configs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="CONFIG", help=f"{CONFIG}: its operations are measured too."),
    ] = None,
    overrides: Overrides = None,
    operations: Annotated[
        bool, typer.Option("--ops", help="Measure the operations of `jcnn bench --ops` too.")
    ] = False,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE",
            help="Measure the problems of this table, avx2 or a file, in place of drawn ones.",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing: how often is the choice the best?")
    ] = False,
    count: Annotated[
        int | None,
        typer.Option(
            "--problems",
            min=1,
            metavar="N",
            help="How many to draw.",
            show_default="120; with --check 60",
        ),
    ] = None,
    skip: Annotated[
        int, typer.Option("--skip", min=0, metavar="N", help="Leave the first N of them out.")
    ] = 0,
    left_out: Annotated[
        bool,
        typer.Option(
            "--left-out",
            help="With --check: judge the table by its own problems, each tenth by the others.",
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the table here.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure this machine, for lowerings to be chosen by what they take here."""
    check_options(context, *_RULES)
    if left_out:
        return _print_left_out(as_json)
    experiments = [load(config, overrides) for config in configs or ()]
    _refuse_accelerators()
    drawn = _problems_of(like) if like else _drawn(count, skip, check)
    if check:
        return _check(drawn, as_json)
    options = {"--set": overrides, "--like": like, "--problems": count, "--skip": skip}
    words = _words(operations, configs, options | {"--out": out})
    _tune(drawn, experiments, operations, out, words, as_json)


def _words(operations: bool, configs: Sequence[Path] | None, options: Mapping[str, Any]) -> str:
    """Write the command again, as it gives the same table."""
    words: list[object] = ["tune", *(["--ops"] if operations else []), *(configs or ())]
    for option, given in options.items():
        for value in given if isinstance(given, list) else [given] if given else []:
            words += [option, value]
    return command(*words)


def _refuse_accelerators() -> None:
    import jax

    if jax.default_backend() != "cpu":
        raise UserError(
            f"tune measures a CPU, and JAX runs on {jax.default_backend()}, where a library "
            "chooses: JAX_PLATFORMS=cpu measures the CPU"
        )


def _check(drawn: Sequence[Problem], as_json: bool) -> None:
    """Measure these problems, and judge the choice by them."""
    from jcnn import benchmark
    from jcnn.lowering.machine import this_machine

    rows = benchmark.measured(drawn, report=_REPORT)
    _print_judged(benchmark.judged(rows, this_machine()), as_json)


def _tune(
    drawn: Sequence[Problem], experiments: Sequence[Experiment], operations: bool,
    out: Path | None, words: str, as_json: bool,
) -> None:  # fmt: skip
    """Measure these problems and those of experiments and operations, and write the table."""
    from jcnn import benchmark
    from jcnn.lowering.machine import table_path
    from jcnn.runs.files import check_place, writing

    path = out or table_path()
    with writing(f"the machine's table {path}"):  # before minutes of measuring
        path.parent.mkdir(parents=True, exist_ok=True)
        check_place(path)
    rows = benchmark.measured(drawn, report=_REPORT)
    others = benchmark.problems_of_cases() if operations else []
    for experiment in experiments:
        others += benchmark.problems_of(experiment)
    others = [problem for problem in dict.fromkeys(others) if problem not in rows]
    rows |= benchmark.measured(others, report=_REPORT)
    machine = benchmark.fitted(rows, benchmark.blank())
    benchmark.write_table(path, machine, rows, words)
    _print_written(path, rows, machine, as_json)


def _problems_of(table: str) -> list[Problem]:
    from jcnn.lowering.machine import named

    try:
        found = list(named(table).measured)
    except UserError as error:
        raise UserError(f"--like: {error}") from error
    if not found:
        raise UserError(f"--like {table}: the table holds no problems to measure")
    return found


def _drawn(count: int | None, skip: int, check: bool) -> list[Problem]:
    from jcnn import benchmark

    wanted = count or (CHECKED if check else DRAWN)
    found = benchmark.drawn(skip + wanted, CHECK_SEED if check else SEED)[skip:]
    return found if check else found + benchmark.drawn_pools(len(found) // POOLED, SEED)


def _print_left_out(as_json: bool) -> None:
    """Judge the table by its own problems; nothing is measured."""
    from jcnn import benchmark
    from jcnn.lowering import Policy

    machine = Policy.current().on
    if not machine.measured:
        raise UserError(f"--left-out: the table of {machine.name} holds no problems to judge it by")
    _print_judged(benchmark.crossed(machine), as_json)


def _print_judged(found: Sequence[Judged], as_json: bool) -> None:
    """Say in how many of the problems the choice is near the best, and where it isn't."""
    from jcnn import benchmark

    share, mean = benchmark.share_near(found), geometric_mean([one.ratio for one in found])
    if as_json:
        rows = [one._asdict() | {"problem": str(one.problem)} for one in found]
        return print_json({"share": share, "mean": mean, "rows": rows})
    for one in sorted(found, key=lambda one: -one.ratio):
        if one.ratio > benchmark.NEAR:
            say(f"{one.problem}: {one.chosen} takes {one.ratio:.2f} times as long as {one.best}")
    say(
        f"within a tenth of the best in {share:.0%} of {len(found)} problems; in the geometric mean"
    )
    say(f"the choice takes {mean:.2f} times as long as the best")


def _print_written(path: Path, rows: Mapping[Any, Any], machine: Machine, as_json: bool) -> None:
    from jcnn import benchmark

    share = benchmark.share_near(benchmark.judged(rows, machine))
    if as_json:
        costs = dict(machine.costs)
        return print_json(
            {"table": str(path), "problems": len(rows), "share": share, "costs": costs}
        )
    say(
        f"{path}: {len(rows)} problems; by its costs alone, the choice is within a tenth of the "
        f"best in {share:.0%} of them, and what was measured is chosen as measured"
    )
