"""Programs that do not grow with the window, nor with the groups."""

from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
import pytest

from jcnn import ops
from jcnn.lowering import forced
from tests.selection import slow_unless

# What the longest takes: a direct sum in turns of eight taps, forward and backward.
MOST = 900


def operations(call, *shapes):
    """Operations of the lowered program of a call and all its gradients."""
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]

    def run(*arrays):
        y, pull = jax.vjp(call, *arrays)
        return y, pull(y)

    return jax.jit(run).lower(*arrays).as_text().count(" = ")


def grown(*counts):
    """Each count over the one before."""
    return [b / a for a, b in pairwise(counts)]


WINDOWS = (8, 17, 64, 127)
KINDS = {
    "plain": ((2, 300, 8), lambda k: (k, 8, 16), {}),
    "few channels": ((2, 300, 1), lambda k: (k, 1, 8), {"padding": "SAME"}),
    "one example": ((1, 300, 1), lambda k: (k, 1, 8), {}),
    "strided": ((2, 300, 3), lambda k: (k, 3, 8), {"strides": 4}),
    "dilated": ((2, 300, 4), lambda k: (k, 4, 8), {"dilation": 2}),
    "depthwise": ((2, 300, 8), lambda k: (k, 1, 8), {"groups": 8}),
    "depthwise strided": ((2, 300, 8), lambda k: (k, 1, 8), {"groups": 8, "strides": 3}),
    "groups": ((2, 300, 16), lambda k: (k, 8, 16), {"groups": 2}),
}

# One that is a matrix product, one of groups.
QUICK = ("plain", "depthwise")


@pytest.mark.parametrize("kind", slow_unless(QUICK.__contains__, KINDS, in_ci=True))
def test_a_correlation_of_a_large_window_is_a_small_program(kind):
    x, w, options = KINDS[kind]
    counts = [
        operations(lambda x, w: ops.correlate(x, w, **options), x, w(k)) for k in (*WINDOWS, 149)
    ]
    assert max(counts) <= MOST


@pytest.mark.parametrize("window", [(9, 9), (31, 31), (65, 3)])
@pytest.mark.parametrize("groups", [1, 8])
def test_an_image_s_large_window_is_a_small_program(window, groups):
    x, w = (2, 70, 70, 8), (*window, 8 // groups, 8)
    assert operations(lambda x, w: ops.convolve(x, w, groups=groups), x, w) <= MOST
    transposed = (2, 10, 10, 8)
    call = lambda x, w: ops.convolve_transpose(x, w, groups=groups, strides=2)  # noqa: E731
    assert operations(call, transposed, w) <= MOST


def test_the_number_of_groups_leaves_the_program_as_it_is():
    with forced("grouped"):
        counts = [
            operations(
                lambda x, w, groups=groups: ops.correlate(x, w, groups=groups, padding=1),
                (2, 9, 9, 8 * groups), (3, 3, 8, 8 * groups),
            )
            for groups in (8, 16, 32)
        ]  # fmt: skip
    assert max(counts) == min(counts)


POOLS = ("max_pool", "relu_max_pool", "average_pool", "square_pool")


@pytest.mark.parametrize("op", POOLS)
@pytest.mark.parametrize("strides", [None, 1, 2, 12], ids=str)
def test_a_pool_of_a_large_window_is_a_small_program(op, strides):
    counts = [
        operations(lambda x, k=k: getattr(ops, op)(x, k, strides=strides), (2, 130, 130, 3))
        for k in (7, 24, 63, 127)
    ]
    assert max(counts) <= MOST
    # Doubling takes a few operations more for twice the window, and others than one loop.
    assert all(ratio < 2 for ratio in grown(*counts))
