import numpy as np
import pytest

from jcnn.proof.comparison import Report, Tolerance, compare

TOLERANCE = Tolerance(rtol=1e-10, atol=1e-12)


def test_an_element_within_its_own_tolerance_passes():
    assert compare("w", "jax.grad", np.array([1.0, 2.0]), np.array([1.0, 2.0]), TOLERANCE).passed


def test_one_wrong_element_among_a_million_fails_and_is_named():
    expected = np.ones((1000, 1000))
    found = expected.copy()
    found[17, 23] = 1 + 1e-9
    row = compare("w", "jax.grad", found, expected, TOLERANCE)
    assert not row.passed
    assert row.worst == (17, 23)
    assert row.absolute_error == pytest.approx(1e-9, rel=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_fails(bad):
    assert not compare("w", "value", np.array([1.0, bad]), np.ones(2), TOLERANCE).passed


def test_equal_infinities_pass():
    both = np.array([np.inf, 1.0])
    assert compare("w", "value", both, both, TOLERANCE).passed


def test_shapes_that_differ_are_an_error():
    with pytest.raises(ValueError, match=r"w: shape \(2,\) against value's \(3,\)"):
        compare("w", "value", np.ones(2), np.ones(3), TOLERANCE)


def test_a_report_without_rows_shows_nothing():
    assert not Report(())
