import numpy as np
import pytest

from jcnn.proof.comparison import DERIVED, NOTHING, Report, Tolerance, compare, noise_of

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


@pytest.mark.parametrize("unit", [1e-14, 1.0, 1e14])
def test_the_absolute_tolerance_is_in_units_of_the_largest_element(unit):
    expected = unit * np.array([1.0, 0.0, -3.0])
    off = unit * np.array([0.0, 2e-12, 0.0])
    assert compare("w", "value", expected + off, expected, TOLERANCE).passed
    assert not compare("w", "value", expected + 2 * off, expected, TOLERANCE).passed


def test_zeros_in_place_of_small_numbers_fail():
    differences = Tolerance(rtol=1e-3, atol=1e-5)
    assert not compare("w", "differences", np.zeros(2), np.full(2, 2.9e-6), differences).passed


def test_where_zeros_are_expected_all_are_zero_but_for_noise():
    zero, little = np.zeros(2), np.array([0.0, 1e-15])
    assert compare("w", "value", zero, zero, TOLERANCE).passed
    assert not compare("w", "value", little, zero, TOLERANCE).passed
    assert compare("w", "value", little, zero, TOLERANCE, noise=noise_of(1, 1, 64)).passed
    assert not compare("w", "value", little, zero, TOLERANCE, noise=noise_of(np.inf, 1, 64)).passed
    assert compare("w", "value", little, zero, TOLERANCE, noise=noise_of(0, 1, 64)).passed


def test_a_report_on_tensors_without_an_element_shows_nothing():
    nothing, one = np.zeros((0, 3)), np.ones(1)
    empty = compare("w", DERIVED, nothing, nothing, TOLERANCE)
    other = compare("b", DERIVED, one, one, TOLERANCE)
    value = compare("output", "value", one, one, TOLERANCE)
    assert not Report((value, empty))
    assert str(Report((value, empty))).endswith(NOTHING)
    assert (empty.verdict, other.verdict) == ("-", "ok")
    assert Report((value, empty, other))
