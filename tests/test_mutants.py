"""Representative mutants of ``scripts/mutate`` on every run of the tests, and the table itself."""

from __future__ import annotations

import ast
import os
import sys
import time

import pytest

from tests.mutation.equivalents import EQUIVALENT
from tests.mutation.judge import Verdict, accepts, checks, everything, verdict
from tests.mutation.operators import operators
from tests.mutation.reloading import replaced
from tests.mutation.table import LEFT_OUT, Mutant, files, functions, mutants, text
from tests.mutation.watched import resident, verdicts_until_ended
from tests.selection import slow_unless


def representative() -> dict[str, Mutant]:
    """One for each way of altering rules and lowerings, from the file that has given fewest."""
    chosen: dict[str, Mutant] = {}
    given = dict.fromkeys(files(), 0)
    for folder in ("ops/", "lowering/"):
        for way in operators():
            of_way = [
                m
                for name, m in mutants().items()
                if m.way == way and m.file.startswith(folder) and name not in EQUIVALENT
            ]
            if of_way:
                first = min(of_way, key=lambda mutant: given[mutant.file])
                given[first.file] += 1
                chosen[first.name] = first
    return chosen


@pytest.mark.parametrize(
    "name", slow_unless(lambda name: name.startswith("ops/"), representative())
)
def test_a_wrong_rule_or_lowering_is_noticed(name):
    outcome, by = verdict(mutants()[name])
    assert outcome != "survived"
    assert not by or accepts(by), f"the code as it is fails too: {by}"


def test_most_are_noticed_by_a_wrong_number():
    chosen = list(representative().values())
    assert len(chosen) >= 24
    # exchanging what can't be exchanged raises at once and proves little
    assert sum(mutant.way != "exchanged" for mutant in chosen) >= 20


# scripts/mutate asks each of them whether it accepts the code as it is.
@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("name", list(everything())[::6])
def test_the_code_as_it_is_passes(name):
    assert accepts(name)


def test_every_file_gives_mutants_and_is_asked():
    assert {mutant.file for mutant in mutants().values()} == set(files())
    for file in files():
        assert next(checks(file), None), file


def test_every_way_applies_to_rules_and_lowerings():
    ways = {(m.file.partition("/")[0], m.way) for m in mutants().values()}
    assert ways >= {("lowering", way) for way in operators() if way != "scaled by 1.01"}
    # Where windows stand is no matter of the rules: their sizes and ends are geometry's.
    ours = {"the other end", "another size"}
    assert ways >= {("ops", way) for way in operators() if way not in ours}


@pytest.mark.parametrize("file", files())
def test_a_mutant_differs_from_the_code_in_its_place_alone(file):
    mutant = next(m for m in mutants().values() if m.file == file)
    ordinary = ast.unparse(ast.parse(text(file))).splitlines()
    altered = mutant.source().splitlines()
    assert sum(a != b for a, b in zip(ordinary, altered, strict=True)) == 1


@pytest.mark.parametrize("name", EQUIVALENT)
def test_every_equivalent_mutant_still_exists(name):
    assert name in mutants()
    assert EQUIVALENT[name]


@pytest.mark.parametrize("place", LEFT_OUT)
def test_what_is_left_out_exists(place):
    file, _, function = place.partition(": ")
    assert function in {"", *(name for name, _ in functions(ast.parse(text(file))))}


def test_the_ordinary_operations_come_back():
    import jcnn

    before = jcnn.ops.convolve
    with replaced("ops/dense.py", text("ops/dense.py")) as ops:
        assert ops.convolve is not before
    assert jcnn.ops.convolve is before


def judge_that_runs_away(name, noticed):
    """Stand for a mutant's judge: what it is named for happens while it is asked."""
    if name == "memory":
        held = []
        while True:
            held.append(bytearray(b"x") * (64 << 20))
    if name == "time":
        time.sleep(600)
    if name == "end":
        raise SystemExit
    return Verdict("killed", name)


@pytest.mark.slow
@pytest.mark.parametrize("runaway", ["memory", "time", "end"])
def test_a_mutant_that_runs_away_is_ended(runaway):
    if runaway == "memory" and not resident(os.getpid()):
        pytest.skip("this system does not say how much memory a process holds")
    found = verdicts_until_ended(
        ["one", "two", runaway, "three"], judge_that_runs_away, memory=2 << 30, seconds=10
    )
    assert found == [Verdict("killed", "one"), Verdict("killed", "two")]


class NeverThere:
    """A judge that ends the process which would ask it."""

    def __reduce__(self):
        return sys.exit, ()


def test_a_process_that_never_judges_is_no_verdict():
    with pytest.raises(EOFError):
        verdicts_until_ended(["one"], NeverThere())


def test_memory_is_known_of_processes_that_live():
    if resident(os.getpid()):  # Linux says so
        assert resident(os.getpid()) > 10 << 20
    assert resident(None) == 0
