"""The integer arithmetic of windows, proved by z3 through the project's own functions.

Proved for all sizes, windows and paddings of one axis, however large, for each stride up to
``STRIDES`` and dilation up to ``DILATIONS`` (of folds, up to ``OUTPUTS`` outputs per block): the
number of windows; SAME and FULL; padding beyond the windows' reach; the adjoint's geometry; the
paddings of XLA's two gradient convolutions, and which element of dy meets which tap in them; the
residues of an input gradient's places, and which meets which; the transposed size; folds; the tiles
of minimal filtering. Axes don't see each other, so that one axis is all of them.

Not proved here: what is done with these numbers (the exact comparisons of ``test_exact.py``), the
edges of pools, which are written inline and met there too, and that a program's integers don't
overflow 64 bits.
"""

from __future__ import annotations

import pytest

from jcnn import geometry
from jcnn.axes import pads
from jcnn.geometry import Geometry, transposed_size
from jcnn.lowering import xla
from jcnn.lowering.blocks import block_size
from jcnn.lowering.fold import Fold
from jcnn.lowering.native.residues import along
from jcnn.lowering.windows import adjoint
from jcnn.lowering.winograd import TILE, tile_counts
from tests.proof.symbols import at_least, equal, prove

STRIDES, DILATIONS, OUTPUTS = 8, 4, 4
every_stride = pytest.mark.parametrize("s", range(1, STRIDES + 1))
every_dilation = pytest.mark.parametrize("d", range(1, DILATIONS + 1))


def axis(n, k, lo, hi, s=1, d=1):
    """One axis: n elements, a window of k, and what makes them a valid geometry."""
    g = Geometry((n,), (k,), (s,), ((lo, hi),), (d,))
    positive = [at_least(n, 1), at_least(k, 1), at_least(lo, 0), at_least(hi, 0)]
    return g, [*positive, at_least(n + lo + hi, g.span[0])]


def within_reach(k, lo, hi, d):
    return [at_least(d * (k - 1), lo), at_least(d * (k - 1), hi)]


@every_stride
@every_dilation
def test_windows_are_as_many_as_fit(s, d):
    def claim(n, k, lo, hi):
        g, valid = axis(n, k, lo, hi, s, d)
        (m,), (span,), (padded,), (rest,) = g.output, g.span, g.padded, g.rest
        last = s * (m - 1) + span
        return valid, [
            at_least(m, 1),
            at_least(padded, last),
            at_least(last + s - 1, padded),
            equal(rest, padded - last),
        ]

    prove(claim, "n", "k", "lo", "hi")


@every_stride
@every_dilation
def test_same_gives_one_output_per_stride_and_the_odd_element_after(s, d):
    def claim(n, k):
        span = d * (k - 1) + 1
        ((lo, hi),) = pads("SAME", (n,), (span,), (s,))
        g, valid = axis(n, k, lo, hi, s, d)
        (m,) = g.output
        return valid[:2], [
            at_least(lo, 0),
            at_least(hi, lo),
            at_least(lo + 1, hi),
            at_least(s * m, n),
            at_least(n + s - 1, s * m),
            at_least(n + lo + hi, span),
        ]

    prove(claim, "n", "k")


@every_dilation
def test_full_meets_every_window_that_touches_the_input(d):
    def claim(n, k):
        span = d * (k - 1) + 1
        ((lo, hi),) = pads("FULL", (n,), (span,), (1,))
        g, valid = axis(n, k, lo, hi, 1, d)
        return valid, [equal(g.output[0], n + span - 1)]

    prove(claim, "n", "k")


@every_stride
@every_dilation
def test_padding_beyond_reach_becomes_input_and_no_window_moves(s, d):
    def claim(n, k, lo, hi):
        g, valid = axis(n, k, lo, hi, s, d)
        inner = g.within_reach()
        ((before, after),), ((low, high),) = g.excess, inner.padding
        return valid, [
            at_least(before, 0),
            at_least(after, 0),
            at_least(low, 0),
            at_least(high, 0),
            *within_reach(k, low, high, d),
            equal(before + low, lo),
            equal(inner.padded[0], g.padded[0]),
            equal(inner.output[0], g.output[0]),
        ]

    prove(claim, "n", "k", "lo", "hi")


@every_dilation
def test_the_adjoint_at_stride_one_gives_the_inputs_size_and_is_its_own_inverse(d):
    def claim(n, k, lo, hi):
        g, valid = axis(n, k, lo, hi, 1, d)
        back = adjoint(g)
        again = adjoint(back)
        ((low, high),) = back.padding
        return [*valid, *within_reach(k, lo, hi, d)], [
            equal(back.output[0], n),
            at_least(low, 0),
            at_least(high, 0),
            equal(again.size[0], n),
            equal(again.padding[0][0], lo),
            equal(again.padding[0][1], hi),
        ]

    prove(claim, "n", "k", "lo", "hi")


@pytest.mark.parametrize(("s", "r"), [(s, r) for s in range(1, STRIDES + 1) for r in range(s)])
def test_a_residues_places_meet_its_elements_of_the_window_and_all_of_them(s, r):
    """Place first + s j takes dy[i] through element e of the window where s i + e - lo is that."""

    def claim(n, k, lo, hi, j, t):
        g, valid = axis(n, k, lo, hi, s)
        first, taps, count, (before, after) = along(g, 0, r)
        places = g.output[0] + before + after - count + 1
        i, e = j + t - before, k - 1 - (taps.start + s * t)
        given = [*valid, *within_reach(k, lo, hi, 1), at_least(k, s), at_least(n, first + 1)]
        inside = [at_least(t, 0), at_least(count - 1, t)]
        return [*given, *inside], [
            at_least(first, 0),
            at_least(s - 1, first),
            equal((first + lo) % s, r),
            at_least(n - 1, first + s * (places - 1)),
            at_least(first + s * places, n),
            equal(s * i + e - lo, first + s * j),
            at_least(e, 0),
            at_least(k - 1, e),
            at_least(count, 1),
            at_least(s - 1, taps.start),
            at_least(taps.start + s * count, k),
        ]

    prove(claim, "n", "k", "lo", "hi", "j", "t")


@every_dilation
def test_at_stride_one_the_one_residue_is_the_adjoint(d):
    def claim(n, k, lo, hi):
        g, valid = axis(n, k, lo, hi, 1, d)
        first, taps, count, padding = along(g, 0, 0)
        back = adjoint(g).padding[0]
        pairs = [(first, 0), (taps.start, 0), (count, k), *zip(padding, back, strict=True)]
        return [*valid, *within_reach(k, lo, hi, d)], [equal(*pair) for pair in pairs]

    prove(claim, "n", "k", "lo", "hi")


@every_stride
@every_dilation
def test_xlas_input_gradient_has_the_inputs_size_and_no_negative_padding(s, d):
    def claim(n, k, lo, hi):
        g, valid = axis(n, k, lo, hi, s, d)
        ((low, high),) = xla.input_gradient_padding(g)
        spread = s * (g.output[0] - 1) + 1
        return [*valid, *within_reach(k, lo, hi, d)], [
            at_least(low, 0),
            at_least(high, 0),
            equal(spread + low + high - g.span[0] + 1, n),
        ]

    prove(claim, "n", "k", "lo", "hi")


@every_stride
@every_dilation
def test_each_input_gradient_reads_where_the_correlation_wrote(s, d):
    """Output m reads element n = s m + d i - lo through tap i; so dx[n] takes dy[m] through it.

    The kernel is flipped: its tap k - 1 - i is tap i. XLA finds dy[m] at s m of the spread dy.
    """

    def claim(n, k, lo, hi, m, i):
        g, valid = axis(n, k, lo, hi, s, d)
        element, flipped = s * m + d * i - lo, k - 1 - i
        ((low, _),) = xla.input_gradient_padding(g)
        concluded = [equal(element + d * flipped - low, s * m)]
        if s == 1:
            ((low, _),) = adjoint(g).padding
            concluded.append(equal(element + d * flipped - low, m))
        return [*valid, at_least(m, 0), at_least(i, 0)], concluded

    prove(claim, "n", "k", "lo", "hi", "m", "i")


@every_stride
@every_dilation
def test_xlas_kernel_gradient_has_the_windows_size_and_no_negative_padding(s, d):
    def claim(n, k, lo, hi):
        g, valid = axis(n, k, lo, hi, s, d)
        ((low, high),) = xla.kernel_gradient_padding(g)
        ((_, cropped),) = xla.reached_edges(g)
        room = n + cropped + low + high - (s * (g.output[0] - 1) + 1)
        return [*valid, *within_reach(k, lo, hi, d)], [
            equal(low, lo),
            at_least(high, 0),
            at_least(0, cropped),
            at_least(n + cropped, 1),
            equal(room, d * (k - 1)),
        ]

    prove(claim, "n", "k", "lo", "hi")


@every_stride
@every_dilation
@pytest.mark.parametrize("padding", ["VALID", "SAME", "SAME_LOWER", "FULL", "CIRCULAR"])
def test_correlating_the_transposed_size_gives_the_input_back(s, d, padding):
    def claim(n, k):
        (size,) = transposed_size((n,), (k,), (s,), padding, (d,))
        span = d * (k - 1) + 1
        ((lo, hi),) = pads(padding, (size,), (span,), (s,))
        g, valid = axis(size, k, lo, hi, s, d)
        return [at_least(n, 1), *valid], [equal(g.output[0], n)]

    def claim_where_something_is_left(n, k):
        try:
            return claim(n, k)
        except ValueError:  # everything is cut off: refused
            return [at_least(n, 1), at_least(k, 1)], []

    prove(claim_where_something_is_left, "n", "k")


@every_stride
@every_dilation
def test_it_does_for_any_pair_of_paddings_that_leaves_something(s, d, monkeypatch):
    def claim(n, k, lo, hi):
        monkeypatch.setattr(geometry, "pads", lambda *_: ((lo, hi),))
        try:
            (size,) = transposed_size((n,), (k,), (s,), "", (d,))
        except ValueError:  # everything is cut off: refused
            return [], []
        g, valid = axis(size, k, lo, hi, s, d)
        return [at_least(n, 1), *valid], [equal(g.output[0], n)]

    prove(claim, "n", "k", "lo", "hi")


@every_stride
@pytest.mark.parametrize("t", range(1, OUTPUTS + 1))
def test_a_fold_holds_all_that_windows_touch_and_crops_what_it_added(s, t):
    def claim(n, k, lo, hi):
        g, valid = axis(n, k, lo, hi, s)
        fold = Fold(g, (t,))
        inner, block = fold.folded, t * s
        (m,), ((before, after),) = g.output, fold._margins
        ((_, excess),) = fold._excess
        whole = inner.size[0] * block
        shifts = [edges[0] for edges in fold._shifts()]
        return valid, [
            equal(before, lo),
            equal(n + before + after, whole),
            at_least(whole, s * (m - 1) + k),
            equal(inner.output[0] * t, m + excess),
            at_least(excess, 0),
            at_least(t - 1, excess),
            *(at_least(low, 0) for low, _ in shifts),
            *(at_least(high, 0) for _, high in shifts),
            *(equal(low + k + high, inner.window[0] * block) for low, high in shifts),
        ]

    prove(claim, "n", "k", "lo", "hi")


@pytest.mark.parametrize("r", [1, 3, 5])
def test_tiles_cover_the_output_and_find_their_inputs(r):
    def claim(n, lo, hi):
        g = Geometry((n,), (r,), (1,), ((lo, hi),), (1,))
        (m,), (t,) = g.output, tile_counts(g)
        valid = [at_least(n, 1), at_least(lo, 0), at_least(hi, 0), at_least(m, 1)]
        return valid, [
            at_least(TILE * t, m),
            at_least(m - 1, TILE * (t - 1)),
            at_least(TILE * (t + 1), TILE * (t - 1) + TILE + r - 1),
            at_least(TILE * (t + 1), m + r - 1),
        ]

    prove(claim, "n", "lo", "hi")


def test_blocks_hold_at_least_one_image_and_at_most_the_batch():
    for batch in range(1, 200):
        for fit in range(0, 220):
            assert 1 <= block_size(batch, image_bytes=1, block_bytes=fit) <= batch


def test_what_is_wrong_is_not_proved():
    def claim(n, k, lo, hi):
        g, valid = axis(n, k, lo, hi, 2)
        return valid, [equal(g.output[0], g.padded[0] // 2)]

    with pytest.raises(AssertionError):
        prove(claim, "n", "k", "lo", "hi")
