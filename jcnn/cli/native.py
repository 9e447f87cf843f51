"""Build the compiled loops for this machine."""

from __future__ import annotations

import os
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from jcnn.cli.options import Json, print_json, say
from jcnn.errors import UserError


class _WrongLibraryError(UserError):
    """A library computes something else."""


def native(
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove what was built, for any processor.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Build compiled loops for this machine's processor: the same gradients, sooner.

    They need a C++ compiler, once; from then on they are chosen where they cost least.
    """
    from jcnn.lowering.native import build, library_path
    from jcnn.lowering.native.library import SWITCH

    path = library_path()
    if remove:
        return _remove(path.parent, as_json)
    if path.is_file():
        again = "; CXX is asked after `jcnn native --remove`" if os.environ.get("CXX") else ""
        say(f"{path} was built before{again}", error=True)
    else:
        say("compiling, for ten seconds, or two minutes by Zig…", error=True)
    found: dict[str, float] = {}
    start = perf_counter()
    build(check=lambda: found.update(_checked()))
    taken = perf_counter() - start
    try:
        found = found or _checked()
    except _WrongLibraryError:
        path.unlink()
        raise
    if as_json:
        return print_json({"library": str(path), "seconds": taken, "differences": found})
    for name, difference in found.items():
        say(f"{name}: differs from XLA's operations by {difference:.1e} of the largest result")
    say(f"{path}: chosen from now on where it costs least; {SWITCH}=0 does without")
    _say_untuned()


def _checked() -> dict[str, float]:
    """Hold each loop against XLA's operations; refuse what computes something else."""
    from jcnn.lowering.native import checking
    from jcnn.lowering.native.library import SWITCH, load, permitted

    if not permitted():
        raise UserError(
            f"the compiled loops may not be used: expected {SWITCH} not to be 0, and a file that "
            "nobody but you can write"
        )
    load()
    found = checking.differences()
    if wrong := checking.wrong(found):
        raise _WrongLibraryError(
            "the compiled loops are not kept: expected XLA's results but for rounding, "
            f"found {', '.join(f'{n} off by {off:.1e}' for n, off in wrong.items())}; CXX names "
            "another compiler"
        )
    return found


def _say_untuned() -> None:
    from jcnn.lowering import this_machine
    from jcnn.lowering.native_costs import knows_native

    if not knows_native(machine := this_machine()):
        say(f"the table of {machine.name} does not say what they cost: `jcnn tune` measures it")


def _remove(folder: Path, as_json: bool) -> None:
    found = sorted(folder.glob("*.so"))
    for path in found:
        path.unlink()
    if as_json:
        return print_json({"removed": [str(path) for path in found]})
    say("\n".join(f"{path} removed" for path in found) or f"{folder} holds nothing to remove")
