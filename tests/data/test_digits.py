import hashlib

import numpy as np
import pytest

from jcnn.data import Digits
from jcnn.errors import UserError


@pytest.fixture(scope="module")
def digits():
    return Digits().load()


def test_the_digits_come_without_a_download(digits):
    assert digits.train.x.shape == (1437, 8, 8, 1)
    assert digits.test.x.shape == (360, 8, 8, 1)
    assert digits.train.x.dtype == np.float32
    assert digits.train.y.dtype == np.int32
    assert digits.classes == tuple("0123456789")
    assert (digits.train.x.min(), digits.train.x.max()) == (0, 1)


def test_the_test_set_is_stratified(digits):
    assert set(np.bincount(digits.test.y)) == {35, 36, 37}


def test_the_test_set_is_the_same_for_ever(digits):
    content = (digits.test.x * 16).astype(np.uint8).tobytes() + digits.test.y.tobytes()
    assert hashlib.sha256(content).hexdigest().startswith("077bffecdd3e34bf")


def test_the_splits_share_no_example(digits):
    trained = {x.tobytes() for x in digits.train.x}
    assert not any(x.tobytes() in trained for x in digits.test.x)


def test_train_count_takes_the_first_of_each_class(digits):
    few = Digits(train_count=100).load()
    assert len(few.train) == 100
    assert set(np.bincount(few.train.y)) == {10}
    np.testing.assert_array_equal(few.test.x, digits.test.x)


def test_validation_hides_the_test_set(digits):
    held = Digits(validation_count=300).load()
    assert (len(held.train), len(held.test)) == (1137, 300)
    published = {x.tobytes() for x in digits.test.x}
    assert not any(x.tobytes() in published for x in held.test.x)
    trained = {x.tobytes() for x in held.train.x}
    assert not any(x.tobytes() in trained for x in held.test.x)


def test_normalisation_is_configuration(digits):
    scaled = Digits(mean=0.5, standard_deviation=0.25).load()
    np.testing.assert_allclose(scaled.train.x, (digits.train.x - 0.5) / 0.25, rtol=1e-6)


@pytest.mark.parametrize("key", ["train_count", "validation_count"])
def test_more_examples_than_there_are_is_a_mistake(key):
    with pytest.raises(
        UserError, match=rf"data\.{key} is 5000, but data set 'digits' has only 143"
    ):
        Digits(**{key: 5000}).load()


@pytest.mark.parametrize(
    "keys",
    [{"train_count": 0}, {"standard_deviation": 0}, {"mean": float("nan")}, {"folder": "x"}],
)
def test_impossible_keys_are_refused(keys):
    with pytest.raises(ValueError, match=next(iter(keys))):
        Digits(**keys)
