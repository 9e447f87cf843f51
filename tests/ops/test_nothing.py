"""No example, no channel, no feature, no class: every operation and gradient, against the loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import ops, reference
from tests.cases import CASES, Case, normal
from tests.ops import loops, loops_by_element
from tests.ops.pullbacks import assert_close, cotangents, pullback
from tests.tolerances import tolerance

pytestmark = pytest.mark.usefixtures("x64", "mathematics")

CORRELATIONS = ("correlate", "convolve", "convolve_transpose")
POOLS = ("max_pool", "relu_max_pool", "average_pool", "square_pool")
ELEMENTWISE = (
    "relu", "leaky_relu", "sigmoid", "tanh", "scaled_tanh", "gelu", "softmax", "unit_step",
    "signum", "local_response_norm",
)  # fmt: skip
LOSSES = ("mean_squared_error", "binary_cross_entropy")
# examples, channels, features
EMPTY = [(0, 3, 2), (2, 0, 2), (2, 3, 0), (0, 0, 0)]


def key():
    return lambda generator: jax.random.key(7)


def integers(count):
    return lambda generator: np.zeros(count, np.int32)


def _cases():
    for n, c, d in EMPTY:
        name = f"{n}-{c}-{d}"
        for op in CORRELATIONS:
            arrays = normal(n, 4, 5, c), normal(3, 3, c, d), normal(d)
            yield Case(op, name, arrays, {"padding": "SAME", "strides": 2})
            arrays = normal(n, 4, 2 * c), normal(3, c, 2 * d), normal(2 * d)
            yield Case(op, f"{name}-groups", arrays, {"groups": 2})
        yield Case("dense", name, (normal(n, c), normal(c, d), normal(d)))
    for n, c in ((0, 3), (2, 0), (0, 0)):
        name, x, channels = f"{n}-{c}", normal(n, 4, 5, c), [normal(c)] * 2
        for op in POOLS:
            yield Case(op, name, (x,), {"strides": 2}, (3,))
        for op in ("global_max_pool", "global_average_pool", *ELEMENTWISE):
            yield Case(op, name, (x,))
        yield Case("decimate", name, (x,), {"factor": 2})
        for mode in ("ZEROS", "REFLECT"):
            yield Case("pad", f"{name}-{mode}", (x,), {"padding": 1, "mode": mode})
        yield Case("prelu", name, (x, normal(c)))
        yield Case("dropout", name, (x, key()), {"drop_rate": 0.5})
        yield Case("batch_norm", name, (x, *channels))
        yield Case("batch_norm_inference", name, (x, *channels, *channels))
        for op in LOSSES:
            yield Case(op, name, (x, x))
    yield Case("softmax_cross_entropy", "0-3", (normal(0, 3), integers(0)))
    yield Case("softmax_cross_entropy", "0-3-y", (normal(0, 3),) * 2, {"label_smoothing": 0.1})
    # no position, where an operation can do without
    yield Case("correlate", "positions", (normal(2, 0, 3), normal(3, 3, 2)), {"padding": 2})
    yield Case("batch_norm", "positions", (normal(2, 0, 3), normal(3), normal(3)))
    yield Case("decimate", "positions", (normal(2, 0, 4, 1),), {"factor": 2})
    yield Case("mean_squared_error", "positions", (normal(2, 0, 3), normal(2, 0, 3)))


NOTHING = list(_cases())


@pytest.mark.parametrize("op", sorted({case.op for case in NOTHING}))
def test_of_nothing_comes_what_the_loops_say(op):
    """In one program per operation, its rule and the reference's derived gradient."""
    cases = [case for case in NOTHING if case.op == op]
    args = [case.arguments() for case in cases]
    dys = [cotangents(c.function(reference), a) for c, a in zip(cases, args, strict=True)]
    for namespace in (ops, reference):
        pulled = [pullback(case.function(namespace)) for case in cases]
        run = jax.jit(lambda *both, pulled=pulled: [
            f(dy, *a) for f, dy, a in zip(pulled, *both, strict=True)
        ])  # fmt: skip
        for case, dy, a, found in zip(cases, dys, args, run(dys, args), strict=True):
            looped = getattr(loops, op, None) or getattr(loops_by_element, op)
            if op == "dropout":
                a = [a[0], np.ones(a[0].shape, bool)]
            expected = looped(dy, *a, *case.positional, **case.options)
            assert_close(found, expected, **tolerance("float64"))


def test_every_operation_is_tried_here():
    assert {case.op for case in NOTHING} == {case.op for case in CASES}


@pytest.mark.parametrize("op", POOLS)
@pytest.mark.parametrize("padding", [1, "FULL"])
def test_windows_of_padding_alone_are_refused(op, padding):
    with pytest.raises(ValueError, match="the input 0x4 has no elements"):
        getattr(ops, op)(jnp.zeros((1, 0, 4, 2)), 2, padding=padding)


def test_an_axis_without_elements_has_none_to_pad_with():
    message = "pad: padding REFLECT needs lengths that are known, and at least 1, found 0x4"
    with pytest.raises(ValueError, match=message):
        ops.pad(jnp.zeros((1, 0, 4, 2)), 1, mode="reflect")


@pytest.mark.parametrize("op", [ops.global_max_pool, ops.global_average_pool])
def test_of_no_position_there_is_neither_largest_nor_mean(op):
    with pytest.raises(ValueError, match=rf"{op.__name__}: x must have an element along each"):
        op(jnp.zeros((2, 0, 4, 1)))
