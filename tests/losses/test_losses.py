import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import ops, reference
from jcnn.errors import UserError
from jcnn.losses import BinaryCrossEntropy, MeanSquaredError, SoftmaxCrossEntropy

pytestmark = pytest.mark.usefixtures("mathematics")

OUTPUT = jnp.array([[2.0, -1.0, 0.5], [0.0, 0.0, 3.0]])
LABELS = jnp.array([0, 2], jnp.int32)
LOSSES = [
    SoftmaxCrossEntropy(label_smoothing=0.1),
    SoftmaxCrossEntropy(temperature=3.0),
    MeanSquaredError(targets=(-1.0, 1.0)),
    BinaryCrossEntropy(),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_one_loss_per_example_the_same_through_the_reference(loss):
    ours = loss.per_example(OUTPUT, LABELS, ops)
    assert ours.shape == (2,)
    np.testing.assert_allclose(ours, loss.per_example(OUTPUT, LABELS, reference), rtol=1e-5)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_probabilities_are_a_distribution_that_prefers_the_predicted_class(loss):
    probabilities = loss.probabilities(OUTPUT)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-6)
    assert (probabilities >= 0).all()
    assert loss.predict(OUTPUT).tolist() == [0, 2]
    assert (probabilities.argmax(-1) == loss.predict(OUTPUT)).all()


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_output_that_is_not_one_value_per_class_is_refused(loss):
    loss.check_output((3,), 3)
    with pytest.raises(
        UserError, match=f"output is 4x4x3, and the loss '{loss.name}' over 3 classes"
    ):
        loss.check_output((4, 4, 3), 3)


def test_temperature_divides_the_logits():
    hot, plain = SoftmaxCrossEntropy(temperature=3.0), SoftmaxCrossEntropy()
    np.testing.assert_allclose(
        hot.per_example(3 * OUTPUT, LABELS, ops), plain.per_example(OUTPUT, LABELS, ops), rtol=1e-6
    )
    np.testing.assert_allclose(hot.probabilities(3 * OUTPUT), plain.probabilities(OUTPUT))


def test_mean_squared_error_uses_its_targets():
    exact = jnp.array([[1.0, -1.0, -1.0]])
    loss = MeanSquaredError(targets=(-1.0, 1.0))
    assert loss.per_example(exact, LABELS[:1], ops).tolist() == [0.0]
    assert loss.probabilities(jnp.array([[-2.0, -2.0, -1.5]])).sum() == pytest.approx(1)


@pytest.mark.parametrize("targets", [(-1.0, 1.0), (1.0, -1.0)])
def test_outputs_that_are_all_beyond_the_other_classes_target_have_their_order_still(targets):
    loss, sign = MeanSquaredError(targets=targets), targets[1]
    output = sign * jnp.array([[-2.0, -2.0, -1.5], [-1.4, -1.2, -1.3], [-2.0, -2.0, -2.0]])
    probabilities = loss.probabilities(output)
    assert loss.predict(output).tolist() == [2, 1, 0]
    assert probabilities.argmax(-1).tolist() == [2, 1, 0]
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(probabilities[2], 1 / 3, rtol=1e-6)


def test_targets_that_tell_no_class_apart_are_refused():
    with pytest.raises(UserError, match="expected two values that differ"):
        MeanSquaredError(targets=(1.0, 1.0))


def test_scores_tell_classes_apart_whose_probabilities_are_rounded_to_the_same():
    loss, logits = BinaryCrossEntropy(), jnp.array([[20.0, 30.0], [30.0, 20.0]])
    assert loss.probabilities(logits).tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert loss.scores(logits).argmax(-1).tolist() == loss.predict(logits).tolist() == [1, 0]


@pytest.mark.parametrize("least", [-10.0, -100.0, -200.0, -1e4])
def test_classes_that_are_all_improbable_have_probabilities(least):
    logits = least - jnp.arange(3.0)[None]
    found = BinaryCrossEntropy().probabilities(logits)[0]
    expected = np.exp(-np.arange(3.0)) / np.exp(-np.arange(3.0)).sum()
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_one_logit_serves_two_classes():
    loss, logits = BinaryCrossEntropy(), jnp.array([[3.0], [-3.0]])
    loss.check_output((1,), 2)
    assert loss.predict(logits).tolist() == [1, 0]
    assert loss.scores(logits).argmax(-1).tolist() == [1, 0]
    np.testing.assert_allclose(loss.probabilities(logits).sum(-1), 1, rtol=1e-6)
    right = loss.per_example(logits, jnp.array([1, 0], jnp.int32), ops)
    np.testing.assert_allclose(right, np.log1p(np.exp(-3.0)), rtol=1e-5)
