"""Values and gradients against what knows nothing of JAX: SciPy, and loops in Python."""

import itertools
from collections import Counter

import jax
import numpy as np
import pytest
from scipy import signal

from jcnn import ops
from tests.cases import CASES, is_distinct, is_quick
from tests.ops import loops, loops_by_element
from tests.ops.pullbacks import assert_close, cotangents, pullback
from tests.selection import slow_unless
from tests.tolerances import tolerance

pytestmark = pytest.mark.usefixtures("x64", "mathematics")

SHAPES = {
    "1d": ((9,), (4,)),
    "2d": ((6, 7), (3, 2)),
    "3d": ((4, 5, 4), (2, 3, 2)),
}
# of the operations with many cases those that differ in what the loops do
WINDOWED = {
    "1d-valid", "1d-same-even-window", "1d-stride-over-window", "1d-dilation",
    "2d-bias-a-position", "2d-same-strided", "2d-full", "2d-uneven-padding",
    "2d-dilation-stride-padding", "2d-two-groups", "2d-depthwise-multiplier", "3d-strided-same",
    "1d-overlapping", "2d-stride-over-window", "2d-overlapping", "2d-unequal-window", "2d-same",
    "3d", "2d-circular-strided", "2d-reflect-dilation", "1d-replicate", "2d-same-lower", "2d-crop",
    "1d-output-padding-cut-less", "2d-output-padding", "1d-same-output-padding", "2d-ceil",
    "1d-ceil-begins-beyond", "2d-circular", "2d-without-padding", "2d-ceil-without-padding",
}  # fmt: skip
COUNT = Counter(case.op for case in CASES)
LOOPED = [case for case in CASES if COUNT[case.op] < 15 or case.name in WINDOWED]


@pytest.mark.parametrize(("channels", "features"), [(1, 1), (3, 2)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("op", ["convolve", "correlate"])
def test_scipy_agrees(op, shape, channels, features):
    """Forward one of the two, backward the other [L]; the kernel's gradient is a correlation."""
    size, window = SHAPES[shape]
    generator = np.random.default_rng(0)
    x = generator.standard_normal((2, *size, channels))
    w = generator.standard_normal((*window, channels, features))
    dy = cotangents(getattr(ops, op), (x, w))

    y, dx, dw = np.zeros_like(dy), np.zeros_like(x), np.zeros_like(w)
    forward, backward = getattr(signal, op), {"convolve", "correlate"} - {op}
    backward = getattr(signal, backward.pop())
    for i, c, d in itertools.product(range(2), range(channels), range(features)):
        image, kernel, delta = x[i, ..., c], w[..., c, d], dy[i, ..., d]
        y[i, ..., d] += forward(image, kernel, mode="valid", method="direct")
        dx[i, ..., c] += backward(delta, kernel, mode="full", method="direct")
        lags = signal.correlate(image, delta, mode="valid", method="direct")
        dw[..., c, d] += np.flip(lags) if op == "convolve" else lags

    found = jax.jit(pullback(getattr(ops, op)))(dy, x, w)
    assert_close(found, (y, (dx, dw)), **tolerance("float64"))


@pytest.mark.parametrize(
    "case", slow_unless(is_quick, LOOPED, lambda case: case.id, in_ci=is_distinct)
)
def test_loops_agree(case):
    function, args = case.function(ops), case.arguments()
    dy = cotangents(function, args)
    found = jax.jit(pullback(function))(dy, *args)
    if case.op == "dropout":
        args[1] = np.asarray(found[0]) != 0  # the mask, read off the forward pass
    looped = getattr(loops, case.op, None) or getattr(loops_by_element, case.op)
    expected = looped(dy, *args, *case.positional, **case.options)
    assert_close(found, expected, **tolerance("float64"))


def test_every_operation_has_loops():
    assert {case.op for case in LOOPED} == set(ops.__all__)
    assert {case.name for case in LOOPED} >= WINDOWED
