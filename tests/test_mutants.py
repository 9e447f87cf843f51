"""A representative dozen of the mutants of ``scripts/mutate``, on every run of the tests."""

import numpy as np
import pytest

from jcnn import reference
from jcnn.proof.rules import check_rule
from tests.cases import CASES
from tests.mutants import MUTANTS, PACKAGE, mutated

DOZEN = {
    "correlate dx: scaled by 1.01": "1d-valid",
    "correlate dw: shifted forward": "1d-valid",
    "correlate dx: padding before and after exchanged": "2d-uneven-padding",
    "convolve dx: missing flip": "1d-valid",
    "convolve dw: missing flip": "1d-valid",
    "convolve_transpose dw: padding before and after exchanged": "2d-uneven-padding",
    "kernel gradient, second order: correlation(geometry, x, dw): scaled by 1.01": "1d-valid",
    "bias: averaged": "1d-valid",
    "max pools: wrong sign": "1d",
    "average_pool: without its divisor": "1d",
    "softmax: diagonal alone": "matrix",
    "mean_squared_error: without the mean's factor": "matrix",
    "batch_norm dx: without the variance's part": "matrix",
}
AT_A_KINK = ("relu: gate >= for >", "relu_max_pool: gate >= for >", "max pools: tie to the last")


def _mutant(name):
    return next(mutant for mutant in MUTANTS if mutant.name == name)


@pytest.mark.parametrize(("name", "case_name"), DOZEN.items(), ids=DOZEN)
def test_the_proof_notices(name, case_name):
    mutant = _mutant(name)
    ids = [f"{op}-{case_name}" for op in mutant.ops]
    case = next(case for case in CASES if case.id in ids)
    with mutated(mutant) as ops:
        report = check_rule(case.function(ops), case.function(reference), *case.arguments())
    assert not report, f"{name} passes {case.id}"


@pytest.mark.parametrize("name", AT_A_KINK)
def test_the_proof_notices_at_a_kink(name):
    mutant = _mutant(name)
    x, arguments = np.zeros((1, 4, 2)), () if mutant.ops == ("relu",) else (2,)
    with mutated(mutant) as ops:
        mine, theirs = (getattr(namespace, mutant.ops[0]) for namespace in (ops, reference))
        report = check_rule(
            lambda x: mine(x, *arguments), lambda x: theirs(x, *arguments), x,
            differences=False, second_order=False,
        )  # fmt: skip
    assert not report, f"{name} passes at a tie or a kink"


def test_every_mutant_has_its_place_in_the_code():
    for mutant in MUTANTS:
        assert mutant.source() != (PACKAGE / mutant.file).read_text(), mutant.name


def test_the_ordinary_operations_come_back():
    import jcnn

    before = jcnn.ops.convolve
    with mutated(MUTANTS[0]) as ops:
        assert ops.convolve is not before
    assert jcnn.ops.convolve is before
