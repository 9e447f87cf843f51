"""Does anything notice that a file of the package is wrong? What is asked, the likeliest first."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax

import jcnn.ops
from jcnn.geometry import place
from jcnn.lowering.algorithms import applicable
from jcnn.lowering.problem import CORRELATIONS as OPERATIONS
from jcnn.proof import Call
from tests.cases import CASES
from tests.mutation.checks import (
    NegativePaddingError,
    against_reference,
    as_on_tpus,
    exact,
    nan_in_a_large_window,
    pools_directly,
    sizes_left_open,
    sums_in_float32,
    under_vmap,
    winners_fit,
    without_jit,
)
from tests.mutation.extremes import EXTREMES, masked_classes, one_class_or_many
from tests.mutation.problems import DILATED, EXAMPLES, MORE, NOTHING, OPEN, POOLS, PROBLEMS
from tests.mutation.reloading import replaced
from tests.mutation.table import Mutant, files
from tests.ops.split_images import CASES as SPLIT
from tests.ops.split_images import (
    biased_by_position,
    gathered_whole,
    halos_exchanged,
    masks_across,
    split_correctly,
    statistics_across,
)
from tests.proof.problems import call

# What the slowest check takes of a processor's time, some times over.
CHECK_SECONDS = 25
# What a file is asked that is no lowering, or no operation, of its own.
LOWERINGS = {
    "fold": ("fold", "fold_xla", "fold_overlap_add", "fold_winograd"),
    "sums": ("direct",),
    "overlap_add": ("overlap_add", "fold_overlap_add"),
    "patches": ("patches", "fold"),
    "xla": ("xla", "fold_xla", "transposed"),
    "blocks": ("patches", "direct", "winograd"),
    "correlations": ("grouped", "xla", "fold", "winograd"),
    "axes": ("xla", "fold", "direct"),
    "geometry": ("xla", "fold", "direct"),
    "windows": ("patches", "overlap_add", "direct", "winograd", "fold", "xla"),
}
RULES = {
    "bias": ("dense", "correlate"),
    "axes": ("correlate", "convolve_transpose", "average_pool"),
    "geometry": ("correlate", "convolve_transpose", "average_pool"),
    "precision": ("average_pool", "batch_norm"),
    "padding": ("pad", "correlate", "convolve_transpose", "average_pool"),
    "folds": ("correlate", "convolve_transpose"),
    "vmapped": ("correlate", "dense"),
    "rule": ("sigmoid", "dense", "average_pool", "max_pool", "correlate", "dropout"),
    "triple": ("correlate", "convolve", "convolve_transpose"),
}


class Check(NamedTuple):
    """One question, the same of every ``ops``: is it right on this?"""

    name: str
    answer: Callable[[Any], bool]


class Verdict(NamedTuple):
    """What becomes of a mutant: "killed", "crashed" (a call of it raises) or "survived"."""

    outcome: str
    by: str = ""


def verdict(mutant: Mutant, noticed: Counter[str] | None = None) -> Verdict:
    """Ask one question after the other until one is answered with no, or raises.

    Those are asked first that have ``noticed`` most of a file's mutants so far.
    """
    questions = list(checks(mutant.file, mutant.function))
    if noticed:
        questions.sort(key=lambda check: -noticed[check.name])
    asked = ""
    try:
        with jax.enable_x64(True), replaced(mutant.file, mutant.source()) as ops:
            for asked, answer in questions:
                with limited(CHECK_SECONDS):
                    right = answer(ops)
                if not right:
                    return Verdict("killed", asked)
    except (NegativePaddingError, AssertionError):  # of numbers that are compared there
        return Verdict("killed", asked)
    except Exception:
        return Verdict("crashed", asked)
    return Verdict("survived")


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Within the context, a loop without an end raises when it has used so much of a processor.

    And each second after that: what is raised in a callback, as of the collector, is ignored.
    """

    def stop(number: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def everything() -> dict[str, Check]:
    """Every check of every file."""
    return {check.name: check for file in files() for check in checks(file)}


def accepts(name: str) -> bool:
    """Whether the operations as they are pass a check."""
    with jax.enable_x64(True):
        return everything()[name].answer(jcnn.ops)


def checks(file: str, function: str = "") -> Iterator[Check]:
    """What a file is asked; of a rule's, the operations first that the function is named for."""
    name = Path(file).stem
    if not file.startswith("lowering/"):
        yield from _of_rules(name, function)
    if not file.startswith("ops/"):
        yield from _of_lowering(name)


def _of_lowering(name: str) -> Iterator[Check]:
    if name == "xla_pools":
        yield from _pools_as_on_tpus()
    if name == "large_windows":
        yield from _pools("doubling")
        yield Check("NaN in a large window", nan_in_a_large_window)
    if name == "pools":
        yield from _pools("views")
    if name in ("pools", "precision"):
        yield from _pools()
    for problem in (*PROBLEMS.values(), *MORE.get(name, {}).values()):
        for lowering in LOWERINGS.get(name, (name,)):
            if _served(problem, lowering):
                answer = partial(exact, problem=problem, lowering=lowering)
                yield Check(f"{problem} in {lowering}", answer)
    if name == "fold":
        yield from _folds()
    if name == "sums":
        yield from _cases(("batch_norm",))
    if name in ("axes", "geometry", "windows"):
        yield from _pools()
    if name in ("windows", "pools"):
        yield from _pools("overlap_add")
    if name == "windows":  # whose NaN it is
        yield Check("global_max_pool at extremes", EXTREMES["global_max_pool"])
    if name == "pools":
        yield from _pools_as_on_tpus()
    if name in ("precision", "correlations"):
        yield Check("sums in float32", sums_in_float32)
    if name in ("axes", "geometry", "xla", "sums", "large_windows", "windows"):
        yield from _with_open_sizes({problem.op for problem in OPEN.values()})


def _pools_as_on_tpus() -> Iterator[Check]:
    for check in _pools():
        yield Check(f"{check.name}, as on TPUs", partial(as_on_tpus, answer=check.answer))


def _folds() -> Iterator[Check]:
    """Any number of outputs may be folded together, those too that the choice would not fold."""
    for problem in PROBLEMS.values():
        rank = len(problem.arrays[0][1]) - 2
        outputs = (2, 3, 2)[:rank]
        if _served(problem, "fold"):
            answer = partial(exact, problem=problem, lowering="fold", outputs=outputs)
            yield Check(f"{problem}, {outputs} outputs folded", answer)


def _with_open_sizes(ops: Collection[str]) -> Iterator[Check]:
    for name, problem in OPEN.items():
        if problem.op in ops:
            yield Check(f"{name}, sizes left open", partial(sizes_left_open, problem=problem))


def _served(problem: Call, lowering: str) -> bool:
    (_, x, _), (_, w, _), *_ = problem.arrays
    given = {"strides": 1, "padding": "VALID", **dict(problem.statics)}
    g = place(x[1:-1], w[:-2], given.pop("strides"), **given)
    return any(lowering in applicable(operation, g) for operation in OPERATIONS)


def _under_vmap() -> Iterator[Check]:
    for name, problem in EXAMPLES.items():
        yield Check(f"examples of {name}", partial(under_vmap, problem=problem))


def _pools(way: str = "") -> Iterator[Check]:
    for problem in POOLS.values():
        for op in ("relu_max_pool", "max_pool", "average_pool", "square_pool"):
            renamed = Call(op, problem.arrays, problem.statics)
            name = f"{renamed} by {way}" if way else str(renamed)
            yield Check(name, partial(exact, problem=renamed, way=way))
    for name, g in DILATED.items():
        by = f" by {way}" if way else ""
        yield Check(f"pools, {name}{by}", partial(pools_directly, g=g, way=way))
    yield Check("winners fit", winners_fit)


def _of_rules(name: str, function: str) -> Iterator[Check]:
    own = tuple(op for op in jcnn.ops.__all__ if _module(op) == f"jcnn.ops.{name}")
    ops = RULES.get(name, own)
    if name in ("folds", "vmapped"):
        yield from _under_vmap()
    if name == "vmapped":
        yield Check("without jit", without_jit)
    if name in ("halo", "spatial", "devices"):
        yield from _on_several_devices()
    # of "max_pool" and "relu_max_pool" the longer name is meant
    named = sorted((op for op in ops if op in function), key=len, reverse=True)
    yield from _cases(tuple(dict.fromkeys((*named, *ops))))
    if name in ("dense", "triple", "rule"):
        yield from _under_vmap()
    yield from _split_in_space(ops)
    if "max_pool" in ops or "average_pool" in ops:
        yield from _pools()
    if name == "max_pooling":
        yield from _pools_as_on_tpus()
    for op, answer in EXTREMES.items():
        if op in ops:
            yield Check(f"{op} at extremes", answer)
    if name in ("dense", "padding"):
        yield from _with_open_sizes(ops)
    if name == "dropout":
        yield Check("masks across devices", masks_across)
    if name == "triple":
        for problem in NOTHING:
            yield Check(str(problem), partial(exact, problem=problem))
    if name == "padding":
        one = call("correlate", (2, 6, 7, 2), (3, 2, 2, 3), padding=((-1, 2), (0, 0)))
        yield Check(str(one), partial(exact, problem=one))
    if name == "normalization":
        yield Check("statistics across devices", statistics_across)
    if name == "classification":
        yield Check("masked classes", masked_classes)
        yield Check("one class or many", one_class_or_many)


def _on_several_devices() -> Iterator[Check]:
    for circular in (False, True):
        answer = partial(halos_exchanged, circular=circular)
        yield Check(f"halo exchange, circular={circular}", answer)
    for tracked in (False, True):
        yield Check(f"gathered, tracked={tracked}", partial(gathered_whole, tracked=tracked))
    yield Check("a bias per position, split in space", biased_by_position)
    yield from _split_in_space({case.op for case in SPLIT.values()})


def _split_in_space(ops: Collection[str]) -> Iterator[Check]:
    for name, case in SPLIT.items():
        if case.op in ops:
            yield Check(f"{name}, split in space", partial(split_correctly, name=name))


def _module(op: str) -> str:
    return getattr(jcnn.ops, op).__module__


def _cases(ops: tuple[str, ...]) -> Iterator[Check]:
    for op in ops:
        for case in CASES:
            # Windows of over 254 elements take seconds to compile.
            if case.op == op and "254" not in case.name:
                yield Check(case.id, partial(against_reference, case=case))
                if case.name == "matrix":
                    answer = partial(against_reference, case=case, at_zero=True)
                    yield Check(f"{case.id} at zero", answer)
