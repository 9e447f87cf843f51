"""Every rule, on every case: against ``jax.grad`` of the reference, differences, second order."""

import numpy as np
import pytest

from jcnn import ops, reference
from jcnn.proof.rules import check_rule
from tests.cases import CASES, is_distinct, is_quick
from tests.selection import slow_unless

pytestmark = pytest.mark.usefixtures("mathematics")


@pytest.mark.parametrize(
    "case", slow_unless(is_quick, CASES, lambda case: case.id, in_ci=is_distinct)
)
def test_rule_agrees_with_every_oracle(case):
    args = case.arguments()
    report = check_rule(case.function(ops), case.function(reference), *args)
    assert not report.wrong, str(report)
    assert report.shows or any(0 in np.shape(a) for a in args)


def test_every_public_operation_has_cases():
    assert {case.op for case in CASES} == set(ops.__all__)


def test_reference_has_the_names_of_ops():
    assert reference.__all__ == ops.__all__
