"""The convolutions of ``jax.lax`` with explicit gradients give what ``jax.lax`` gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jcnn.lax import conv_general_dilated, conv_transpose
from tests.frameworks.drawn import (
    HOW_MANY,
    agree,
    floats,
    one_of,
    pairs,
    refuses,
    same_arguments,
)

pytestmark = pytest.mark.usefixtures("mathematics")
NUMBERS = {1: ("NCH", "OIH", "NCH"), 2: ("NHWC", "HWIO", "CHWN")}


def arguments(generator, rank, groups):
    """Arrays in the order of the dimension numbers, and those."""
    numbers = one_of(generator, None, NUMBERS[rank])
    lhs, rhs = (2, 2 * groups, *(7, 8)[:rank]), (3 * groups, 2, *(3, 2)[:rank])
    x, w = floats(generator, *lhs), floats(generator, *rhs)
    if numbers is not None and rank == 2:
        x, w = x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0)
    return x, w, numbers


@HOW_MANY
def test_conv_general_dilated(examples):
    generator = np.random.default_rng(examples)
    for _ in range(examples):
        rank, groups = int(generator.integers(1, 3)), int(generator.integers(1, 3))
        x, w, numbers = arguments(generator, rank, groups)
        spread = one_of(generator, None, (2, 3)[:rank])
        strides = one_of(generator, (1, 1), (2, 1))[:rank]
        padding = pairs(generator, rank, -1, 3)
        if spread is None:
            padding = one_of(generator, "SAME", "VALID", padding)
        options = {
            "lhs_dilation": spread,
            "rhs_dilation": one_of(generator, None, (1, 2)[:rank]),
            "dimension_numbers": numbers,
            "feature_group_count": groups,
        }
        theirs, ours = (
            lambda x, w, f=f, o=options, s=strides, p=padding: f(x, w, s, p, **o)
            for f in (lax.conv_general_dilated, conv_general_dilated)
        )
        agree(theirs, ours, x, w)


@HOW_MANY
def test_conv_transpose(examples):
    generator = np.random.default_rng(examples)
    for _ in range(examples):
        x, w = floats(generator, 2, 4, 3, 2), floats(generator, 3, 2, 2, 2)
        strides = one_of(generator, (1, 1), (2, 3), (4, 1))
        consistent = one_of(generator, True, False)
        edges = pairs(generator, 2, 0, 1) if consistent else pairs(generator, 2, 1, 3)
        padding = one_of(generator, "SAME", "VALID", edges)
        options = {
            "rhs_dilation": one_of(generator, None, (2, 1)),
            "transpose_kernel": one_of(generator, True, False),
            "use_consistent_padding": consistent,
        }
        theirs, ours = (
            lambda x, w, f=f, o=options, s=strides, p=padding: f(x, w, s, p, **o)
            for f in (lax.conv_transpose, conv_transpose)
        )
        agree(theirs, ours, x, w)


def test_the_arguments_are_those_of_jax_lax():
    same_arguments("jax", lax.conv_general_dilated, conv_general_dilated)
    same_arguments("jax", lax.conv_transpose, conv_transpose)


@pytest.mark.parametrize("padding", ["SAME_LOWER", "same", "valid"])
def test_other_names_transposed_at_strides_of_one_pad_the_image_itself(padding):
    generator = np.random.default_rng(0)
    x, w = floats(generator, 2, 6, 2), floats(generator, 4, 2, 3)
    theirs, ours = (
        lambda x, w, f=f: f(x, w, (1,), padding) for f in (lax.conv_transpose, conv_transpose)
    )
    agree(theirs, ours, x, w)


def test_an_image_of_no_element_has_no_zeros_between():
    x, w = jnp.ones((1, 2, 0)), jnp.ones((4, 2, 3))
    theirs, ours = (
        f(x, w, (1,), [(3, 3)], (2,)) for f in (lax.conv_general_dilated, conv_general_dilated)
    )
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("precision", [("default", "default"), 2 * (lax.Precision.DEFAULT,)])
def test_a_precision_for_each_array_may_be_the_default(precision):
    x, w = jnp.ones((2, 2, 5)), jnp.ones((2, 2, 3))
    run = lambda x, w: conv_general_dilated(x, w, (1,), "SAME", precision=precision)  # noqa: E731
    assert jax.eval_shape(run, x, w).shape == (2, 2, 5)
    with pytest.raises(ValueError, match="precision must be None, found"):
        conv_general_dilated(x, w, (1,), "SAME", precision=("default", "highest"))


def test_what_is_not_taken_is_refused_by_name():
    x, w = jnp.ones((2, 2, 5)), jnp.ones((2, 2, 3))
    values = {
        "precision": "highest",
        "preferred_element_type": jnp.float16,
        "batch_group_count": 2,
        "out_sharding": "a",
    }
    refuses(
        list(values), lambda name: conv_general_dilated(x, w, (1,), "SAME", **{name: values[name]})
    )
    with pytest.raises(ValueError, match="padding must be pairs with lhs_dilation, found 'SAME'"):
        conv_general_dilated(x, w, (1,), "SAME", (2,))
    with pytest.raises(ValueError, match="padding must be 'SAME' or 'VALID', found 'FULL'"):
        conv_transpose(x, w, (2,), "FULL", dimension_numbers=NUMBERS[1])
    with pytest.raises(ValueError, match="must be one of VALID, SAME, SAME_LOWER, or pairs, found"):
        conv_general_dilated(x, w, (1,), "FULL")
    with pytest.raises(TypeError, match="lhs must be floating point"):
        conv_general_dilated(jnp.ones((2, 2, 5), int), w, (1,), "SAME")


def test_the_gradient_is_the_explicit_one():
    x, w = jnp.ones((2, 2, 9)), jnp.ones((2, 2, 3))
    for strides, spread in (((2,), None), ((1,), (2,))):
        run = lambda w, s=strides, d=spread: conv_general_dilated(x, w, s, [(1, 1)], d)  # noqa: E731
        program = str(jax.make_jaxpr(run)(w))
        assert "correlation[" in program or "_convolve_transpose[" in program


@pytest.mark.parametrize("kind", [np.array, list, jnp.array], ids=["numpy", "list", "jax"])
def test_steps_and_padding_may_be_arrays(kind):
    x, w = jnp.ones((2, 3, 8, 8)), jnp.ones((4, 3, 3, 3))
    strides, padding = kind([1, 2]), kind([[1, 2], [0, 1]])
    options = {"lhs_dilation": kind([2, 1]), "rhs_dilation": kind([1, 2])}
    found = jax.eval_shape(lambda: conv_general_dilated(x, w, strides, padding, **options))
    options = {"lhs_dilation": (2, 1), "rhs_dilation": (1, 2)}
    expected = lax.conv_general_dilated(x, w, (1, 2), [(1, 2), (0, 1)], **options)
    assert found.shape == expected.shape
    x, w = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 4))
    steps = kind([2, 1])
    found = jax.eval_shape(lambda: conv_transpose(x, w, steps, "VALID", rhs_dilation=steps))
    assert found.shape == lax.conv_transpose(x, w, (2, 1), "VALID", rhs_dilation=(2, 1)).shape


def test_steps_and_padding_that_do_not_fit_are_named():
    x, w = jnp.ones((2, 3, 8, 8)), jnp.ones((4, 3, 3, 3))
    where = "conv_general_dilated"
    for strides, padding, error, sentence in (
        (1, "SAME", TypeError, "window_strides must be a sequence of 2 integers, found 1"),
        ((1,), "SAME", ValueError, "window_strides must have one entry for each of the 2"),
        ((1, 1), 1, TypeError, "padding must be a name or 2 pairs, found 1"),
        ((1, 1), [(1, 1)], ValueError, "padding must be a name"),
    ):
        with pytest.raises(error, match=f"^{where}: {sentence}"):
            conv_general_dilated(x, w, strides, padding)
    with pytest.raises(ValueError, match=r"^conv_general_dilated: expected images with a spatial"):
        conv_general_dilated(x[..., 0, 0], w[..., 0, 0], (), [])
    with pytest.raises(ValueError, match=r"^conv_transpose: strides must have one entry"):
        conv_transpose(x, w, (1,), "SAME")


@pytest.mark.parametrize(
    ("shape", "options", "sentence"),
    [
        ((2, 4, 5), {}, r"rhs must have 3 input channels .*\(1, 3, 8\) .*found 4 .*\(2, 4, 5\)"),
        ((2, 3, 5), {"feature_group_count": 2}, "feature_group_count must divide the channels of"),
        ((2, 3, 5), {"feature_group_count": 0}, "feature_group_count must be at least 1, found 0"),
        ((2, 3, 9), {}, r"must fit into lhs .*, found a window of 9 in 8, with padding \(\(0"),
        (
            (2, 3, 5),
            {"lhs_dilation": (2,), "padding": [(-9, -9)]},
            "found a window of 5 in 15, as dilated,",
        ),
        ((2, 3, 5), {"padding": [(-8, 20)]}, r"padding \(\(-8, 20\),\) leaves nothing of lhs, 8"),
        ((2, 3, 5, 5), {}, r"lhs and rhs must have as many axes, found shapes \(1, 3, 8\) and"),
        ((2, 3, 0), {}, "rhs must have an element along each spatial axis, found shape"),
    ],
)
def test_shapes_that_do_not_fit_are_named_as_the_caller_has_them(shape, options, sentence):
    arguments = {"window_strides": (1,), "padding": [(0, 0)]} | options
    with pytest.raises(ValueError, match=f"^conv_general_dilated: .*{sentence}"):
        conv_general_dilated(jnp.ones((1, 3, 8)), jnp.ones(shape), **arguments)


def test_a_transposed_kernel_that_does_not_fit_is_named_as_the_caller_has_it():
    x, w = jnp.ones((1, 8, 3)), jnp.ones((5, 2, 4))
    with pytest.raises(ValueError, match=r"^conv_transpose: rhs .*found 4 .* \(5, 2, 4\)"):
        conv_transpose(x, w, (2,), "SAME", transpose_kernel=True)
