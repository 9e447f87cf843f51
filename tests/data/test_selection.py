import numpy as np
import pytest

from jcnn.data.selection import (
    class_quotas,
    most_taken,
    stratified_first,
    stratified_last,
    stratified_spread,
)


def test_quotas_are_proportional_and_sum_up():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    assert class_quotas(labels, 10) == {0: 5, 1: 3, 2: 2}
    assert sum(class_quotas(labels, 7).values()) == 7


@pytest.mark.parametrize("choose", [stratified_first, stratified_last, stratified_spread])
@pytest.mark.parametrize("count", [0, 1, 7, 99, 100])
def test_a_choice_has_distinct_examples_in_the_quotas(choose, count):
    labels = np.random.default_rng(0).integers(0, 4, 100)
    chosen = choose(labels, count)
    assert len(set(chosen)) == count
    assert (np.diff(chosen) > 0).all()
    found = np.bincount(labels[chosen], minlength=4)
    assert dict(enumerate(found)) == class_quotas(labels, count)


def test_first_and_last_do_not_meet_while_there_is_room():
    labels = np.random.default_rng(1).integers(0, 3, 60)
    assert not set(stratified_first(labels, 30)) & set(stratified_last(labels, 27))


def test_a_choice_of_nothing_from_no_classes_is_empty():
    assert len(stratified_first(np.zeros(0, int), 0)) == 0


@pytest.mark.parametrize("seed", range(20))
def test_each_class_keeps_one_and_other_quotas_stay(seed):
    draws = np.random.default_rng(seed)
    sizes = draws.integers(1, 9, draws.integers(1, 7))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    for count in range(most_taken(labels) + 1):
        free, capped = class_quotas(labels, count), class_quotas(labels, count, kept=1)
        assert sum(capped.values()) == count
        assert all(quota < size for quota, size in zip(capped.values(), sizes, strict=True))
        if all(quota < size for quota, size in zip(free.values(), sizes, strict=True)):
            assert capped == free


def test_what_small_classes_keep_the_large_ones_give():
    labels = np.repeat(range(10), [1] * 8 + [10, 10])
    assert class_quotas(labels, 6, kept=1) == {**dict.fromkeys(range(8), 0), 8: 3, 9: 3}
    assert class_quotas(labels, 18, kept=1) == {**dict.fromkeys(range(8), 0), 8: 9, 9: 9}
    taken = stratified_last(labels, 18, kept=1)
    assert set(labels[np.setdiff1d(np.arange(28), taken)]) == set(range(10))
