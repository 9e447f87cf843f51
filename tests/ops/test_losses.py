"""Losses where logits are extreme, labels odd, and where a factor is easily lost."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import ops, reference
from tests.cases import CASES
from tests.ops.loops_by_element import softmax_cross_entropy as looped
from tests.selection import slow_unless
from tests.tolerances import tolerance

EXTREME = (50.0, 1e4)
DTYPES = ("float32", "float64")
LOSSES = ("mean_squared_error", "binary_cross_entropy", "softmax_cross_entropy")

pytestmark = pytest.mark.usefixtures("x64", "mathematics")


def pulled(loss, first, second, **options):
    """Values and gradients of one loss an example, as NumPy arrays."""

    @jax.jit
    def run(first, second):
        values, pull = jax.vjp(lambda a: loss(a, second, **options), first)
        return values, pull(jnp.ones_like(values))[0]

    return tuple(map(np.asarray, run(first, second)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_binary_cross_entropy_of_extreme_logits(dtype):
    logits = np.array([sign * a for a in EXTREME for sign in (1, -1)], dtype)
    agree, oppose = (logits > 0).astype(dtype), (logits < 0).astype(dtype)
    values, gradient = pulled(ops.binary_cross_entropy, logits, agree)
    small = np.array([math.exp(-50)] * 2 + [0.0] * 2)
    np.testing.assert_allclose(values, small, rtol=1e-6, atol=0)
    # sigma(a) - 1 rounds to zero, sigma(-a) does not
    np.testing.assert_allclose(gradient, [0, math.exp(-50), 0, 0], rtol=1e-5, atol=1e-30)

    values, gradient = pulled(ops.binary_cross_entropy, logits, oppose)
    assert values.tolist() == [50, 50, 1e4, 1e4]
    np.testing.assert_allclose(gradient, [1, -1, 1, -1], rtol=0, atol=1e-15)
    assert values.dtype == gradient.dtype == dtype


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", EXTREME)
def test_softmax_cross_entropy_of_extreme_logits(size, dtype, smoothing):
    """Every pattern of signs on three classes, every label; the limits are plain arithmetic."""
    signs = np.array(list(itertools.product((-1, 0, 1), repeat=3)), dtype)
    logits, labels = np.repeat(size * signs, 3, axis=0), np.tile(np.arange(3), len(signs))
    loss = ops.softmax_cross_entropy
    values, gradient = pulled(loss, logits, labels, label_smoothing=smoothing)

    largest = logits == logits.max(axis=-1, keepdims=True)
    share = largest / largest.sum(axis=-1, keepdims=True)
    target = (1 - smoothing) * np.eye(3)[labels] + smoothing / 3
    log_softmax = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    log_softmax -= np.log(largest.sum(axis=-1, keepdims=True))
    expected = -(target * log_softmax).sum(axis=-1)
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-20)
    np.testing.assert_allclose(gradient, share - target, rtol=1e-6, atol=1e-7)
    assert values.dtype == gradient.dtype == dtype


@pytest.mark.parametrize("size", [1e30, 3e38])
def test_logits_near_the_largest_number(size):
    logits = np.array([[size, 0, -size / 4], [-size / 4, 0, size / 2]], np.float32)
    values, gradient = pulled(ops.softmax_cross_entropy, logits, np.array([0, 2]))
    assert values.tolist() == [0, 0]
    assert not gradient.any()
    values, gradient = pulled(ops.binary_cross_entropy, logits[:, :1], np.ones((2, 1), np.float32))
    np.testing.assert_allclose(values, [0, size / 4], rtol=1e-6)
    assert gradient.tolist() == [[0], [-1]]


def test_gradients_with_respect_to_targets_stay_finite():
    logits = np.array([[1e4, -1e4]])
    target = np.array([[0.5, 0.5]])
    _, binary = pulled(lambda y, a: ops.binary_cross_entropy(a, y), target, logits)
    np.testing.assert_allclose(binary, [[-5e3, 5e3]])
    _, soft = pulled(lambda y, a: ops.softmax_cross_entropy(a, y), target, logits)
    np.testing.assert_allclose(soft, [[0, 2e4]])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("integer", ["int32", "uint8", "int64"])
def test_integers_and_one_hot_distributions_agree(integer, smoothing):
    logits = np.random.default_rng(0).standard_normal((4, 3))
    labels = np.array([2, 0, 1, 2], integer)
    loss = ops.softmax_cross_entropy
    found = pulled(loss, logits, labels, label_smoothing=smoothing)
    expected = pulled(loss, logits, np.eye(3)[labels], label_smoothing=smoothing)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, **tolerance("float64"))


BOTH = pytest.mark.parametrize("namespace", [ops, reference], ids=["ops", "reference"])
EXACT = tolerance("float64")


@BOTH
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("label", [3, -1, 2**32 + 1])
def test_a_traced_integer_that_is_no_class_counts_nothing(label, smoothing, namespace):
    logits, options = (
        np.random.default_rng(0).standard_normal((2, 3)),
        {"label_smoothing": smoothing},
    )
    values, gradient = pulled(
        namespace.softmax_cross_entropy, logits, np.array([1, label]), **options
    )
    assert values[1] == 0
    assert not gradient[1].any()
    alone = looped(np.ones(1), logits[:1], np.array([1]), **options)
    np.testing.assert_allclose(values[0], alone[0][0], **EXACT)
    np.testing.assert_allclose(gradient[0], alone[1][0][0], **EXACT)


@BOTH
@pytest.mark.parametrize("logit", [math.nan, math.inf, -math.inf])
def test_the_logits_of_a_traced_integer_that_is_no_class_may_be_anything(logit, namespace):
    """In second derivatives too."""
    logits = np.array([[0.5, 1.0], [logit, logit]])

    @jax.jit
    def run(logits, labels):
        loss = lambda a: namespace.softmax_cross_entropy(a, labels, label_smoothing=0.1).sum()  # noqa: E731
        return loss(logits), jax.grad(loss)(logits), jax.jacrev(jax.grad(loss))(logits)

    found, alone = run(logits, np.array([1, -1])), run(logits[:1], np.array([1]))
    np.testing.assert_allclose(found[0], alone[0], **EXACT)
    assert not np.any(found[1][1])
    assert not np.any(found[2][1])


@BOTH
@pytest.mark.parametrize("integer", slow_unless(
    "uint8".__eq__, ["uint8", "int8", "uint16", "uint32", "uint64", "int64"], in_ci=True
))  # fmt: skip
def test_integers_of_any_kind_name_any_class(integer, namespace):
    """One-hot vectors counted in 8 bits would have a one at 5 and at 261."""
    logits = np.random.default_rng(0).standard_normal((2, 300))
    labels = np.array([5, 127], integer)
    found = pulled(namespace.softmax_cross_entropy, logits, labels)
    value, (gradient,) = looped(np.ones(2), logits, labels)
    np.testing.assert_allclose(found[0], value, **EXACT)
    np.testing.assert_allclose(found[1], gradient, **EXACT)


# A batch of images' worth of examples, their classes first, in the middle or last.
MASKED = np.random.default_rng(0).standard_normal((3, 2, 4, 5))
MASKED[np.random.default_rng(1).uniform(size=MASKED.shape) < 0.3] = -math.inf


@BOTH
@pytest.mark.parametrize("kind", ["integers", "distributions"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("axis", [-1, 1])
def test_masked_classes_are_as_if_not_there(axis, smoothing, kind, namespace):
    """With any leading axes, in each way of saying labels, and where some do not count."""
    generator = np.random.default_rng(2)
    logits = np.moveaxis(MASKED, -1, axis)
    first = np.argmax(-math.inf < MASKED, axis=-1)  # a class that is there
    if kind == "distributions":
        y = np.where(-math.inf < MASKED, generator.uniform(size=MASKED.shape), 0)
        labels = np.moveaxis(y / y.sum(-1, keepdims=True), -1, axis)
    else:
        labels = first
    where = generator.uniform(size=first.shape) < 0.7
    options = {"axis": axis, "label_smoothing": smoothing, "where": where}
    dl = generator.standard_normal(first.shape)

    @jax.jit
    def run(logits, labels):
        places = (0, 1) if kind == "distributions" else 0
        of_both = lambda *both: (namespace.softmax_cross_entropy(*both, **options) * dl).sum()  # noqa: E731
        value = namespace.softmax_cross_entropy(logits, labels, **options)
        return value, jax.grad(of_both, places)(logits, labels)

    value, gradients = run(logits, labels)
    expected, derivatives = looped(dl, logits, labels, **options)
    np.testing.assert_allclose(value, expected, **EXACT)
    for found, derivative in zip(jax.tree.leaves(gradients), derivatives, strict=True):
        np.testing.assert_allclose(found, derivative, **EXACT)


def test_masked_classes_are_not_there_for_second_derivatives():
    logits, labels = MASKED[0, 0], np.where(-math.inf < MASKED[0, 0], 0.25, 0)

    def second(loss):
        of_both = lambda *both: (loss(*both, label_smoothing=0.2) ** 2).sum()  # noqa: E731
        return jax.jit(jax.jacrev(jax.grad(of_both, (0, 1)), (0, 1)))(logits, labels)

    found, derived = map(second, (ops.softmax_cross_entropy, reference.softmax_cross_entropy))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(derived), strict=True):
        np.testing.assert_allclose(a, b, **EXACT)


@BOTH
def test_a_label_that_is_masked_has_an_infinite_loss(namespace):
    logits = np.array([[0.0, -math.inf, 1.0]])
    for smoothing in (0.0, 0.1):
        values, gradient = pulled(
            namespace.softmax_cross_entropy, logits, np.array([1]), label_smoothing=smoothing
        )
        assert values[0] == math.inf
        assert not np.isnan(gradient).any()


@BOTH
def test_what_does_not_count_may_be_anything(namespace):
    logits = np.array([[0.5, 1.0], [math.nan, math.inf], [-math.inf, -math.inf]])
    where = np.array([True, False, False])
    for labels in (np.array([1, 7, -1]), np.array([[0.0, 1.0], [math.nan, 0.0], [0.0, 0.0]])):
        for smoothing in (0.0, 0.1):
            found = pulled(
                namespace.softmax_cross_entropy, logits, labels, where=where,
                label_smoothing=smoothing,
            )  # fmt: skip
            alone = looped(np.ones(1), logits[:1], labels[:1], label_smoothing=smoothing)
            np.testing.assert_allclose(found[0], [alone[0][0], 0, 0], **EXACT)
            np.testing.assert_allclose(found[1], [alone[1][0][0], [0, 0], [0, 0]], **EXACT)


@BOTH
def test_an_example_without_outputs_has_no_error(namespace):
    nothing = np.zeros((3, 0))
    for loss in (namespace.mean_squared_error, namespace.binary_cross_entropy):
        values, gradient = pulled(loss, nothing, nothing)
        assert values.tolist() == [0, 0, 0]
        assert gradient.shape == (3, 0)


def test_smoothing_moves_the_minimum_to_the_smoothed_distribution():
    target = np.array([[0.8, 0.1, 0.1]])
    loss = ops.softmax_cross_entropy
    values, gradient = pulled(loss, np.log(target), np.array([0]), label_smoothing=0.3)
    np.testing.assert_allclose(values, -(target * np.log(target)).sum(axis=-1), rtol=1e-12)
    np.testing.assert_allclose(gradient, 0, atol=1e-15)


def test_smoothing_altogether_forgets_the_label():
    logits = np.random.default_rng(0).standard_normal((1, 3))
    loss = ops.softmax_cross_entropy
    found = [pulled(loss, logits, np.array([k]), label_smoothing=1.0) for k in range(3)]
    for values, gradient in found[1:]:
        assert values == found[0][0]
        assert (gradient == found[0][1]).all()


def test_gradients_are_prediction_minus_target():
    """No factor but the mean's: 1 / K for outputs of an example, none for its classes."""
    generator = np.random.default_rng(0)
    logits, k = generator.standard_normal((5, 4)), 4
    exact = tolerance("float64")

    softmax = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    p = generator.dirichlet(np.ones(k), 5)
    found = pulled(ops.softmax_cross_entropy, logits, p)[1]
    np.testing.assert_allclose(found, softmax - p, **exact)

    y, sigmoid = generator.uniform(size=(5, k)), 1 / (1 + np.exp(-logits))
    found = pulled(ops.binary_cross_entropy, logits, y)[1]
    np.testing.assert_allclose(found, (sigmoid - y) / k, **exact)

    found = pulled(ops.mean_squared_error, logits, y)[1]
    np.testing.assert_allclose(found, 2 * (logits - y) / k, **exact)


@pytest.mark.parametrize("case", [c for c in CASES if c.op in LOSSES], ids=lambda case: case.id)
def test_one_loss_an_example(case):
    args = case.arguments(np.float32)
    out = jax.eval_shape(case.function(ops), *args)
    classes = case.options.get("axis", -1) % args[0].ndim if case.op == LOSSES[-1] else None
    rest = args[0].shape[:1] if classes is None else np.delete(args[0].shape, classes)
    assert out.shape == tuple(rest)
    assert out.dtype == np.float32


@pytest.mark.parametrize("name", LOSSES)
def test_examples_do_not_mix(name):
    """The gradient of one example's loss is zero for all others, and its own is not averaged."""
    a = np.random.default_rng(0).standard_normal((3, 2))
    target = np.array([[0.0, 1.0]] * 3)
    loss = getattr(ops, name)
    jacobian = np.asarray(jax.jit(jax.jacrev(loss))(a, target))
    alone = np.asarray(jax.jit(jax.jacrev(loss))(a[:1], target[:1]))
    np.testing.assert_allclose(jacobian[0, 0], alone[0, 0], **tolerance("float64"))
    assert not jacobian[~np.eye(3, dtype=bool)].any()


def test_a_confident_right_answer_keeps_its_digits():
    """In float32 1 + e^-20 is 1, and a loss by way of it would be 0 from a = 17 on."""
    logits = np.array([5, 20, 40, -5, -20, -40], np.float32)
    values, _ = pulled(ops.binary_cross_entropy, logits, (logits > 0).astype(np.float32))
    np.testing.assert_allclose(values, np.log1p(np.exp(-np.abs(logits.astype(float)))), rtol=1e-6)
