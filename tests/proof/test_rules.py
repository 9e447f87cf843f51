"""``check_rule`` as a user meets it: with a rule of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jcnn
from jcnn import ops
from jcnn.proof import check_rule

X = np.linspace(-2.0, 2.0, 12).reshape(3, 4)


def rule_for_swish(gradient):
    @jax.custom_vjp
    def swish(x, b):
        return x * jax.nn.sigmoid(b * x)

    swish.defvjp(lambda x, b: (swish(x, b), (x, b)), lambda kept, dy: gradient(*kept, dy))
    return swish


def right(x, b, dy):
    s = jax.nn.sigmoid(b * x)
    slope = s * (1 - s)
    return dy * (s + b * x * slope), (dy * x * x * slope).sum()


def reference(x, b):
    return x * jax.nn.sigmoid(b * x)


def test_a_right_rule_passes_every_oracle():
    report = check_rule(rule_for_swish(right), reference, X, np.float32(1.5), names=["x", "b"])
    assert report, str(report)
    oracles = {(row.tensor, row.against) for row in report.rows}
    values = {("output", "value"), ("output under jax.grad", "value")}
    assert oracles == values | {("cotangent", "second order")} | {
        (tensor, against)
        for tensor in ("x", "b")
        for against in ("jax.grad", "second order", "differences")
    }


@pytest.mark.parametrize("factor", [1.01, -1.0, 1 + 1e-8])
def test_a_factor_is_noticed_in_the_argument_that_has_it(factor):
    def gradient(x, b, dy):
        dx, db = right(x, b, dy)
        return dx, factor * db

    report = check_rule(rule_for_swish(gradient), reference, X, 1.5, names=["x", "b"])
    failed = {(row.tensor, row.against) for row in report.rows if not row.passed}
    assert ("b", "jax.grad") in failed
    assert ("x", "jax.grad") not in failed


def test_differences_alone_notice_a_mistake_that_both_share():
    def shared(x):
        return jax.lax.stop_gradient(x) * x

    report = check_rule(shared, shared, X)
    assert {row.against for row in report.rows if not row.passed} == {"differences"}


def test_second_order_notices_a_rule_that_hides_its_residuals():
    @jax.custom_vjp
    def cube(x):
        return x**3

    cube.defvjp(lambda x: (cube(x), x), lambda x, dy: (3 * jax.lax.stop_gradient(x) ** 2 * dy,))
    report = check_rule(cube, lambda x: x**3, X)
    assert {row.against for row in report.rows if not row.passed} == {"second order"}


def test_second_order_notices_what_only_the_cotangent_shows():
    @jax.custom_vjp
    def double(x):
        return 2 * x

    double.defvjp(lambda x: (double(x), ()), lambda _, dy: (2 * jax.lax.stop_gradient(dy),))
    report = check_rule(double, lambda x: 2 * x, X, names=["x"])
    failed = [(row.tensor, row.against) for row in report.rows if not row.passed]
    assert failed == [("cotangent", "second order")]


def test_a_wrong_value_is_noticed():
    report = check_rule(lambda x: x + 1e-6, lambda x: x, X)
    assert not report.rows[0].passed


def test_a_forward_half_that_gives_another_value_is_noticed():
    """``value_and_grad`` hands on what the forward half returns, and not what the function does."""

    @jax.custom_vjp
    def cube(x):
        return x**3

    cube.defvjp(lambda x: (x**3 + 1e-6, x), lambda x, dy: (3 * x**2 * dy,))
    report = check_rule(cube, lambda x: x**3, X)
    failed = [(row.tensor, row.against) for row in report.rows if not row.passed]
    assert failed == [("output under jax.grad", "value")]


def test_a_gradient_of_another_dtype_is_named():
    """JAX hands it on, and whoever updates a parameter with it gets one of that dtype."""

    @jax.custom_vjp
    def scaled(x, w):
        return x * w

    def backward(kept, dy):
        x, w = (a if a.dtype == jnp.float64 else a.astype(jnp.float32) for a in kept)
        return (dy.astype(w.dtype) * w).astype(dy.dtype), dy.astype(x.dtype) * x

    scaled.defvjp(lambda x, w: (scaled(x, w), (x, w)), backward)
    assert check_rule(scaled, jnp.multiply, X, X)
    low = jnp.asarray(X, jnp.bfloat16)
    sentence = "^check_rule: the gradient of w must be bfloat16 as it is, found float32$"
    with pytest.raises(TypeError, match=sentence):
        check_rule(scaled, jnp.multiply, low, low, names=["x", "w"])


def widened(scale):
    """x of half precision times s of float32, whose gradient of x is of ``scale``'s dtype."""

    @jax.custom_vjp
    def product(x, s):
        return x.astype(s.dtype) * s

    product.defvjp(
        lambda x, s: (product(x, s), (x, s)),
        lambda kept, dy: (scale(dy * kept[1], kept[0]), dy * kept[0].astype(dy.dtype)),
    )
    return product


def test_a_gradient_of_another_dtype_is_named_among_arguments_of_several():
    x, s = jnp.ones(3, jnp.bfloat16), jnp.ones(3, jnp.float32)
    right, wrong = widened(lambda dx, x: dx.astype(x.dtype)), widened(lambda dx, x: dx)
    assert check_rule(right, jnp.multiply, x, s)
    sentence = "^check_rule: the gradient of x must be bfloat16 as it is, found float32$"
    with pytest.raises(TypeError, match=sentence):
        check_rule(wrong, jnp.multiply, x, s, names=["x", "s"])


def test_a_mix_of_dtypes_that_the_function_refuses_is_noted():
    low, single = jnp.ones((2, 2), jnp.bfloat16), jnp.ones((2, 2), jnp.float32)
    report = check_rule(ops.dense, jnp.matmul, low, single, names=["x", "w"])
    assert report, str(report)
    (note,) = report.notes
    assert note.endswith("the function refuses x: bfloat16, w: float32")
    assert note in str(report)
    assert not check_rule(ops.dense, jnp.matmul, single, single).notes


def test_a_python_number_has_no_dtype_of_its_own():
    report = check_rule(rule_for_swish(right), reference, jnp.asarray(X, jnp.bfloat16), 1.5)
    assert report, str(report)


def test_arrays_without_an_element_show_nothing():
    @jax.custom_vjp
    def square(x):
        return x**2

    square.defvjp(lambda x: (square(x), x), lambda x, dy: (17 * x * dy,))
    report = check_rule(square, jnp.square, np.zeros((0, 3)))
    assert not report
    assert all(row.passed for row in report.rows)
    assert not check_rule(square, jnp.square, X)


@pytest.mark.parametrize("unit", [1e-14, 1e14])
def test_units_do_not_matter(unit):
    def square(factor):
        @jax.custom_vjp
        def f(x):
            return unit * x**2

        f.defvjp(lambda x: (f(x), x), lambda x, dy: (factor * unit * x * dy,))
        return f

    def plain(x):
        return unit * x**2

    assert check_rule(square(2), plain, X)
    failed = {row.against for row in check_rule(square(34), plain, X).rows if not row.passed}
    assert failed == {"jax.grad", "second order", "differences"}


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"names": ["x"]}, ValueError, "names must be a list of 2, one per argument, found ['x']"),
        ({"names": "xw"}, ValueError, "names must be a list of 2, one per argument, found 'xw'"),
        ({"samples": 0}, ValueError, "samples must be at least 1, found 0"),
        ({"samples": 1.5}, TypeError, "samples must be an integer, found 1.5"),
        ({"seed": -1}, ValueError, "seed must be at least 0, found -1"),
    ],
    ids=["few-names", "text", "no-sample", "half-a-sample", "seed"],
)
def test_options_that_would_show_nothing_are_refused(options, error, sentence):
    with pytest.raises(error) as found:
        check_rule(jnp.multiply, jnp.multiply, X, X, **options)
    assert str(found.value) == f"check_rule: {sentence}"


@pytest.mark.parametrize(
    ("function", "error", "sentence"),
    [
        (lambda x: x.T, ValueError, r"outputs of the reference's shapes \[\(3, 4\)\], found \[\(4"),
        (lambda x: None, TypeError, "functions that return arrays, found no array"),
        (lambda x: jax.lax.complex(x, x), TypeError, "outputs of real numbers, found complex128"),
        (lambda x: (x, 3.0), TypeError, "functions that return arrays, found a float"),
    ],
    ids=["transposed", "nothing", "complex", "number"],
)
def test_outputs_that_are_not_the_references_are_named(function, error, sentence):
    with pytest.raises(error, match=f"^check_rule: expected {sentence}"):
        check_rule(function, lambda x: x, X)


def test_trees_of_outputs_and_arguments_that_are_not_differentiated_pass_through():
    def pick(x, index):
        return {"row": x[index], "sum": x.sum()}

    assert check_rule(pick, pick, X, np.int32(1))


def test_many_elements_are_sampled_evenly():
    report = check_rule(jnp.sin, jnp.sin, np.linspace(0, 1, 5000), samples=10)
    row = next(row for row in report.rows if row.against == "differences")
    assert row.elements == 10
    assert row.shape == (5000,)


@pytest.mark.slow
def test_a_bilinear_rule_of_ones_own_is_compared_exactly():
    x, w = np.ones((4, 9, 9, 3), np.float32), np.ones((3, 3, 3, 5), np.float32)
    report = check_rule(
        ops.correlate, jcnn.reference.correlate, x, w, exact=True, differences=False
    )
    exact = [row for row in report.rows if row.against == "whole numbers"]
    assert [row.tensor for row in exact] == ["output", "argument 0", "argument 1"]
    assert report, str(report)
    assert all(row.absolute_error == 0 for row in exact)


def test_what_rounds_where_it_should_not_is_seen_in_float32_alone():
    """In float64 the rule is right to 1e-10; the program that trains adds a rounding."""

    @jax.custom_vjp
    def double(x):
        return x + x

    def backward(_, dy):
        root = jnp.sqrt(jnp.asarray(2, dy.dtype))
        return (root * (root * dy),)

    double.defvjp(lambda x: (double(x), None), backward)
    args = (double, lambda x: 2 * x, np.ones((50, 50), np.float32))
    assert check_rule(*args, differences=False)
    rows = check_rule(*args, differences=False, exact=True).rows
    assert [row.tensor for row in rows if not row.passed] == ["argument 0"]


MASK = jax.random.key(0)
NARROWED = lambda x, w: x @ w.astype(x.dtype)  # noqa: E731
LINEAR = {
    "half": (jnp.matmul, [((2, 3), "float16"), ((3, 2), "float16")]),
    "bfloat16": (jnp.matmul, [((2, 3), "bfloat16"), ((3, 2), "bfloat16")]),
    "narrow-first": (NARROWED, [((2, 3), "float16"), ((3, 2), "float32")]),
    "narrow-last": (NARROWED, [((2, 3), "float64"), ((3, 2), "float32")]),
    "double": (lambda x: 3 * jnp.tril(x, -1), [((3, 4), "float64")]),
    "random-mask": (lambda x: jnp.where(jax.random.bernoulli(MASK, 0.5, x.shape), 3 * x, 0),
                    [((3, 4), "float32")]),
    "mask-of-differences": (lambda x: jnp.where(jnp.arange(4) - 3 < 0, 3 * x, 0),
                            [((3, 4), "float32")]),
    "constant-loop": (lambda x: jax.lax.fori_loop(0, 3, lambda i, a: a + a, 1) * x,
                      [((3, 4), "float32")]),
}  # fmt: skip


@pytest.mark.parametrize("name", LINEAR)
def test_a_right_rule_is_right_exactly_in_every_dtype(name):
    function, arrays = LINEAR[name]
    args = [np.ones(shape, jnp.dtype(dtype)) for shape, dtype in arrays]
    with jax.numpy_dtype_promotion("standard"):
        report = check_rule(function, function, *args, exact=True, differences=False)
    assert report, str(report)


def test_a_dtype_without_whole_numbers_is_named():
    x = jnp.ones(3, jnp.float8_e4m3fn)
    sentence = r"^check_rule: exact=True needs x to be of one of float16, .*, found float8_e4m3fn$"
    with pytest.raises(TypeError, match=sentence):
        check_rule(lambda x: 2 * x, lambda x: 2 * x, x, names=["x"], exact=True)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (jnp.tanh, "not linear in argument 0"),
        (jnp.square, "not linear in argument 0"),
        (lambda x: jnp.maximum(x, 0), "not linear in argument 0"),
        (lambda x: 2.0**24 * x, "too many for sums of whole numbers to be exact in float32"),
        (lambda x: jax.lax.fori_loop(0, 3, lambda i, a: a + a, x), "can't look into"),
        (jnp.exp, "not linear in argument 0"),
        (jax.nn.softmax, "linear in each argument, and of ones it gives what is not finite"),
        (lambda x: jnp.linalg.inv(x[:, :2]), "of ones it gives what is not finite"),
        (lambda x: x / 3, "whose results of whole numbers float32 holds, and its output has"),
        (jnp.mean, "it divides, or scales by what is no power of two"),
    ],
    ids=[
        "tanh",
        "square",
        "relu",
        "too-large",
        "loop",
        "exp",
        "softmax",
        "inverse",
        "third",
        "mean",
    ],
)
def test_what_cannot_be_compared_exactly_is_refused_in_one_sentence(function, message):
    with pytest.raises(ValueError, match=message) as error:
        check_rule(function, function, np.ones((2, 3), np.float32), exact=True, differences=False)
    assert "\n" not in str(error.value)
