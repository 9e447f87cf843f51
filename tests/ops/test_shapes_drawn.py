"""Shapes that nobody thought of: drawn, and held against ``jax.grad`` of the reference."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jcnn import ops, reference
from tests.cases import Case
from tests.ops.pullbacks import assert_close, cotangents, pullback
from tests.tolerances import tolerance

pytestmark = pytest.mark.usefixtures("mathematics")
# every example compiles a program of its own, so that many are slow
HOW_MANY = pytest.mark.parametrize("examples", [5, pytest.param(40, marks=pytest.mark.slow)])


def per_axis(draw, rank, low, high):
    """One integer, or one for each axis."""
    numbers = st.integers(low, high)
    return draw(st.one_of(numbers, st.tuples(*[numbers] * rank)))


def paddings(draw, window, spans):
    """Every form a padding may have; pairs stay smaller than a window."""
    pairs = [st.tuples(*[st.integers(0, span - 1)] * 2) for span in spans]
    return draw(
        st.one_of(
            st.sampled_from(["VALID", "SAME", "FULL"]),
            st.integers(0, min(spans) - 1),
            st.tuples(*pairs),
        )
    )


def spread(value, rank):
    return (value,) * rank if isinstance(value, int) else value


@st.composite
def correlations(draw):
    """An operation of the triple, its arrays' shapes and its options."""
    rank, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    window = draw(st.tuples(*[st.integers(1, 4 - rank // 2)] * rank))
    dilation = per_axis(draw, rank, 1, 3)
    spans = [r * (k - 1) + 1 for r, k in zip(spread(dilation, rank), window, strict=True)]
    # at least a window: then every padding leaves an output, and a transposed one something uncut
    size = tuple(span + draw(st.integers(0, 3)) for span in spans)
    c, d = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    options = {
        "strides": per_axis(draw, rank, 1, 3),
        "padding": paddings(draw, window, spans),
        "dilation": dilation,
        "groups": groups,
    }
    op = draw(st.sampled_from(["correlate", "convolve", "convolve_transpose"]))
    shapes = [(draw(st.integers(1, 3)), *size, groups * c), (*window, c, groups * d)]
    if draw(st.booleans()):
        shapes.append((groups * d,))
    return op, shapes, (), options


@st.composite
def pools(draw):
    rank = draw(st.integers(1, 3))
    window = draw(st.tuples(*[st.integers(1, 4 - rank // 2)] * rank))
    size = tuple(k + draw(st.integers(0, 4)) for k in window)
    options = {
        "strides": draw(st.none()) or per_axis(draw, rank, 1, 4),
        "padding": paddings(draw, window, window),
    }
    op = draw(st.sampled_from(["max_pool", "relu_max_pool", "average_pool", "square_pool"]))
    return op, [(draw(st.integers(1, 2)), *size, draw(st.integers(1, 3)))], (window,), options


def run(strategy, examples):
    """Draw examples, the same on every machine, and check them."""
    drawn = settings(max_examples=examples, deadline=None, derandomize=True, database=None)
    drawn(given(strategy)(check))()


def check(drawn):
    op, shapes, positional, options = drawn
    generator = np.random.default_rng(0)
    args = [generator.standard_normal(shape) for shape in shapes]
    case = Case(op, "drawn", (), options, positional)
    functions = [case.function(namespace) for namespace in (ops, reference)]
    with jax.enable_x64(True):
        dy = cotangents(functions[1], args)
        both = jax.jit(lambda *args: [pullback(function)(*args) for function in functions])
        found, expected = both(dy, *args)
        assert_close(found, expected, **tolerance("float64"))


@HOW_MANY
def test_correlations_of_any_shape(examples):
    run(correlations(), examples)


@HOW_MANY
def test_pools_of_any_shape(examples):
    run(pools(), examples)
