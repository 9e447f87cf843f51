"""Residues: every place of x is one residue's, and meets there the elements that its sum names."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jcnn.geometry import Geometry
from jcnn.lowering.native.residues import divides, residues


@st.composite
def lines(draw):
    """A line whose windows may leave it, on either side, by any length."""
    stride = draw(st.integers(1, 5))
    window = draw(st.integers(stride, 9))
    dilation = draw(st.integers(1, 3)) if stride == 1 else 1
    span = dilation * (window - 1) + 1
    padding = draw(st.integers(0, span - 1)), draw(st.integers(0, span - 1))
    size = draw(st.integers(max(1, span - sum(padding)), 20))
    return Geometry((size,), (window,), (stride,), (padding,), (dilation,))


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(lines())
def test_the_sums_of_all_residues_are_the_input_gradients(g):
    (size,), (window,), (stride,), (dilation,) = g.size, g.window, g.strides, g.dilation
    (outputs,), ((before, _),) = g.output, g.padding
    wanted = {
        place: {(m, k) for m, k in product(range(outputs), range(window))
                if stride * m + dilation * k - before == place}
        for place in range(size)
    }  # fmt: skip
    found = {}
    for each in residues(g):
        h = each.geometry
        taps = (window - 1 - np.arange(window))[each.taps[0]]  # of the flipped kernel
        for n in range(h.output[0]):
            seen = [(n + h.dilation[0] * t - h.padding[0][0], k) for t, k in enumerate(taps)]
            place = each.first[0] + n * each.every[0]
            assert place not in found
            found[place] = {(m, int(k)) for m, k in seen if 0 <= m < outputs}
    assert found == wanted


@pytest.mark.parametrize(
    ("window", "strides", "dilation", "expected"),
    [((3, 3), (2, 2), (1, 1), True), ((1, 3), (2, 2), (1, 1), False),
     ((3, 3), (1, 2), (2, 1), True), ((3, 3), (2, 2), (2, 1), False)],
)  # fmt: skip
def test_where_a_residue_meets_nothing_there_are_none(window, strides, dilation, expected):
    g = Geometry((9, 9), window, strides, ((0, 0), (0, 0)), dilation)
    assert divides(g) is expected
