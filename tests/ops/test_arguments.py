"""What the operations refuse, and the sentence they refuse it with; what else they accept."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import ops, reference
from tests.cases import CASES, representative
from tests.ops.pullbacks import assert_close, cotangents, differentiable, pullback
from tests.tolerances import tolerance

SIGNAL, IMAGE = np.zeros((1, 8, 2)), np.zeros((1, 6, 6, 4))
KERNEL = np.zeros((3, 3, 4, 2))
ROW, CHANNEL = np.zeros((3, 4)), np.zeros(4)
LABELS = np.zeros(3, np.int32)
KEY = jax.random.key(0)

WINDOWED = [ops.correlate, ops.convolve, ops.convolve_transpose]
POOLS = [ops.max_pool, ops.relu_max_pool, ops.average_pool, ops.square_pool]
NAME = lambda op: op.__name__ if callable(op) else None  # noqa: E731

# keyword arguments of a correlation, and what is said of them
REFUSED_OPTIONS = [
    ({"strides": 0}, ValueError, "strides must be at least 1, found 0"),
    ({"strides": (1, -1)}, ValueError, "strides must be at least 1, found -1"),
    ({"strides": (1, 1, 1)}, ValueError,
     "strides must have one entry for each of the 2 spatial axes, found (1, 1, 1)"),
    ({"strides": 1.5}, TypeError, "strides must be an integer or a sequence of them, found 1.5"),
    ({"strides": "1"}, TypeError, "strides must be an integer or a sequence of them, found '1'"),
    ({"strides": (1, 2.0)}, TypeError, "strides must be an integer, found 2.0"),
    ({"strides": True}, TypeError, "strides must be an integer, found True"),
    ({"strides": None}, TypeError, "strides must be an integer or a sequence of them, found None"),
    ({"dilation": 0}, ValueError, "dilation must be at least 1, found 0"),
    ({"dilation": (2,)}, ValueError, "dilation must have one entry for each of the 2 spatial axes"),
    ({"groups": 0}, ValueError, "groups must be at least 1, found 0"),
    ({"groups": 3}, ValueError, "groups must divide the channels 4 and 2, found 3"),
    ({"groups": 2.0}, TypeError, "groups must be an integer, found 2.0"),
    ({"groups": 2}, ValueError, "w must have C / groups = 2 input channels for x with 4 channels"),
    ({"padding": "HALF"}, ValueError,
     "padding must be one of VALID, SAME, SAME_LOWER, FULL, CIRCULAR, REFLECT, REPLICATE, "
     "found 'HALF'"),
    ({"padding": ((0, 1),)}, ValueError, "one pair for each of the 2 spatial axes"),
    ({"padding": 0.5}, TypeError, "padding must be a name (VALID, SAME, SAME_LOWER, FULL, "),
    ({"padding": True}, TypeError, "padding must be an integer, found True"),
    ({"padding": ((0, 1, 2), 0)}, ValueError,
     "padding must be an integer or a pair (before, after) for each axis, found (0, 1, 2)"),
    ({"padding": (1, 0.5)}, TypeError,
     "padding must be an integer or a pair (before, after) for each axis, found 0.5"),
    ({"padding": ("SAME", "VALID")}, TypeError, "for each axis, found 'SAME'"),
    ({"padding": ((0, 1.5), 0)}, TypeError, "padding must be an integer, found 1.5"),
    ({"strides": 10**20}, ValueError, f"strides must be an integer of 32 bits, found {10**20}"),
    ({"dilation": (1, 2**31)}, ValueError, "dilation must be an integer of 32 bits, found 2147"),
    ({"padding": 10**20}, ValueError, f"padding must be an integer of 32 bits, found {10**20}"),
    ({"padding": ((0, -(2**31)), 0)}, ValueError, "an integer of 32 bits, found -2147483648"),
]  # fmt: skip


def refused(error, sentence, function, *args, **options):
    """The message begins with the operation's name, as a traceback may not show the call."""
    with pytest.raises(error) as found:
        function(*args, **options)
    op, _, rest = str(found.value).partition(": ")
    assert op in ops.__all__
    assert getattr(function, "__name__", op) in (op, "<lambda>")
    assert sentence in rest


@pytest.mark.parametrize("op", WINDOWED, ids=NAME)
@pytest.mark.parametrize(
    ("options", "error", "sentence"), REFUSED_OPTIONS, ids=lambda value: str(value)[:40]
)
def test_correlations_refuse_options(op, options, error, sentence):
    refused(error, sentence, op, IMAGE, KERNEL, **options)


@pytest.mark.parametrize("op", WINDOWED, ids=NAME)
def test_correlations_refuse_shapes(op):
    refused(ValueError, "x must have a batch axis, at least one spatial axis", op, ROW, KERNEL)
    sentence = "w must have shape (*window, C / groups, D) with 2 window axes for x of shape"
    refused(ValueError, sentence, op, IMAGE, np.zeros((3, 4, 2)))
    sentence = "w must have C / groups = 4 input channels for x with 4 channels and 1 group(s)"
    refused(ValueError, sentence, op, IMAGE, np.zeros((3, 3, 5, 2)))
    out = jax.eval_shape(op, IMAGE, KERNEL).shape[1:]
    for bias in (np.zeros(3), np.zeros((1, 2)), np.zeros(())):
        sentence = f"b must have shape (2,) or {out}, found {bias.shape}"
        refused(ValueError, sentence, op, IMAGE, KERNEL, bias)


@pytest.mark.parametrize("op", WINDOWED[:2], ids=NAME)
def test_a_window_has_to_fit(op):
    sentence = "window 7x3 is larger than its input 6x6 (with padding 0)"
    refused(ValueError, sentence, op, IMAGE, np.zeros((7, 3, 4, 2)))
    refused(
        ValueError, "window 3x3 (7x7 with its dilation) is larger", op, IMAGE, KERNEL, dilation=3
    )


def test_a_transposed_convolution_has_to_leave_something():
    sentence = "padding ((4, 4), (4, 4)) leaves nothing of the output, found size (0, 0)"
    refused(ValueError, sentence, ops.convolve_transpose, IMAGE, KERNEL, padding=4)


@pytest.mark.parametrize("op", WINDOWED[:2], ids=NAME)
def test_a_crop_has_to_leave_something(op):
    sentence = "padding ((-6, 4), (0, 0)) leaves nothing of the input 6x6"
    refused(ValueError, sentence, op, IMAGE, KERNEL, padding=((-6, 4), 0))
    refused(ValueError, "window 3x3 is larger than its input 6x6 (with padding -2)", op, IMAGE,
            KERNEL, padding=-2)  # fmt: skip


def test_output_padding_stays_below_the_strides():
    op = ops.convolve_transpose
    for more in (2, (0, 2)):
        sentence = "output_padding must be smaller than the strides (2, 2) or the dilation (1, 1)"
        refused(ValueError, sentence, op, IMAGE, KERNEL, strides=2, output_padding=more)
    refused(ValueError, "output_padding must be at least 0, found -1", op, IMAGE, KERNEL,
            output_padding=-1)  # fmt: skip
    refused(ValueError, "output_padding goes with padding of zeros, found CIRCULAR", op, IMAGE,
            KERNEL, strides=2, padding="circular", output_padding=1)  # fmt: skip


def test_pad_refuses():
    refused(ValueError, "mode must be one of ZEROS, CIRCULAR, REFLECT, REPLICATE, found 'edge'",
            ops.pad, IMAGE, 1, mode="edge")  # fmt: skip
    for padding in ("SAME", 1.5, None):
        kind = "an integer, or one pair for each of the 2 spatial axes"
        refused(TypeError, f"padding must be {kind}, found {padding!r}", ops.pad, IMAGE, padding)
    refused(ValueError, "an integer, or one pair for each of the 2", ops.pad, IMAGE, (1, 2, 3))
    sentence = "padding ((-3, -3), (-3, -3)) leaves nothing of the input 6x6"
    refused(ValueError, sentence, ops.pad, IMAGE, -3)
    sentence = "padding must be at least 0 with mode REFLECT, found ((-1, 1), (0, 0))"
    refused(ValueError, sentence, ops.pad, IMAGE, ((-1, 1), 0), mode="reflect")
    refused(ValueError, "x must have a batch axis, at least one spatial axis", ops.pad, ROW, 1)


@pytest.mark.parametrize("op", POOLS, ids=NAME)
def test_pools_refuse(op):
    refused(ValueError, "x must have a batch axis, at least one spatial axis", op, ROW, 2)
    refused(ValueError, "window must be at least 1, found 0", op, IMAGE, 0)
    refused(ValueError, "window must have one entry for each of the 2", op, IMAGE, (2,))
    refused(TypeError, "window must be an integer or a sequence", op, IMAGE, None)
    refused(TypeError, "window must be an integer, found '2'", op, IMAGE, (2, "2"))
    refused(ValueError, "strides must be at least 1, found 0", op, IMAGE, 2, strides=0)
    refused(ValueError, "window 7x7 is larger than its input 6x6", op, IMAGE, 7)
    sentence = "padding must be smaller than the window (2, 2), found ((2, 2), (2, 2))"
    refused(ValueError, sentence, op, IMAGE, 2, padding=2)
    refused(ValueError, "padding must be one of VALID, SAME,", op, IMAGE, 2, padding="NONE")
    sentence = "ceil_mode goes with padding of zeros, found "
    refused(
        ValueError,
        "ceil_mode goes with padding of at least 0, found ((-1, 0), (0, 0)); crop before",
        op,
        IMAGE,
        2,
        padding=((-1, 0), 0),
        ceil_mode=True,
    )
    refused(ValueError, sentence + "REFLECT", op, IMAGE, 2, padding="reflect", ceil_mode=True)


def test_other_pools_refuse():
    for op in (ops.global_max_pool, ops.global_average_pool):
        refused(ValueError, "x must have a batch axis, at least one spatial axis", op, ROW)
    refused(ValueError, "x must have a batch axis, at least one", ops.decimate, ROW, 2)
    refused(ValueError, "factor must be at least 1, found 0", ops.decimate, SIGNAL, 0)
    refused(ValueError, "factor must have one entry for each", ops.decimate, SIGNAL, (2, 2))
    refused(TypeError, "factor must be an integer or a sequence", ops.decimate, SIGNAL, 2.0)


def test_dense_refuses():
    sentence = "x (..., C) and w (C, D) must share C, found"
    for x, w in ((ROW, np.zeros((3, 2))), (CHANNEL, np.zeros((4, 2))), (ROW, CHANNEL)):
        refused(ValueError, sentence, ops.dense, x, w)
    refused(ValueError, "b must have shape (2,), found (4,)", ops.dense, ROW, ROW.T[:, :2], CHANNEL)


def test_activations_and_dropout_refuse():
    refused(ValueError, "slope must not be negative, found -0.1", ops.leaky_relu, ROW, -0.1)
    refused(ValueError, "slope must not be negative, found nan", ops.leaky_relu, ROW, np.nan)
    refused(ValueError, "slope must be () or (4,), found (3,)", ops.prelu, ROW, np.zeros(3))
    refused(ValueError, "amplitude must be positive, found 0", ops.scaled_tanh, ROW, amplitude=0)
    for rate in (1, -0.1, np.nan):
        sentence = f"drop_rate must be in [0, 1), found {rate}"
        refused(ValueError, sentence, ops.dropout, ROW, KEY, rate)


def test_normalisations_refuse():
    two, four = [CHANNEL] * 2, [CHANNEL] * 4
    for op, rest in ((ops.batch_norm, two), (ops.batch_norm_inference, four)):
        refused(ValueError, "epsilon must be positive, found 0", op, ROW, *rest, epsilon=0)
        refused(ValueError, "x must be (N, ..., C), found (4,)", op, CHANNEL, *rest)
        wrong = [*rest[:-1], np.zeros(3)]
        refused(ValueError, "must be (4,), found (3,)", op, ROW, *wrong)
    lrn = ops.local_response_norm
    refused(ValueError, "size must be at least 1, found 0", lrn, ROW, size=0)
    refused(TypeError, "size must be an integer, found 1.5", lrn, ROW, size=1.5)
    refused(ValueError, "offset must be positive and scale not negative", lrn, ROW, offset=0)
    refused(ValueError, "offset must be positive and scale not negative", lrn, ROW, scale=-1)


def test_losses_refuse():
    for op, name in ((ops.mean_squared_error, "prediction"), (ops.binary_cross_entropy, "logits")):
        sentence = f"{name} and target must share a shape (N, ...), found (3, 4) and (4,)"
        refused(ValueError, sentence, op, ROW, CHANNEL)
        refused(ValueError, f"{name} and target must share", op, np.zeros(()), np.zeros(()))
    loss = ops.softmax_cross_entropy
    refused(ValueError, "logits must be (..., K) with K >= 1, found a", loss, np.zeros(()), LABELS)
    refused(ValueError, "axis must be one of logits' 2 axes, found 2", loss, ROW, LABELS, axis=2)
    refused(ValueError, "logits must be (..., K) with K >= 1", loss, np.zeros((3, 0)), LABELS)
    refused(ValueError, "labels of dtype int32 must be () for logits", loss, CHANNEL, LABELS)
    refused(ValueError, "labels of dtype int32 must be (3,) for logits", loss, ROW, LABELS[:2])
    refused(ValueError, "must be (3, 4) for logits (3, 4), found (4,)", loss, ROW, CHANNEL)
    refused(
        TypeError,
        "labels must be an array, found one of dtype object",
        loss,
        ROW,
        np.array([0, None, 1]),
    )
    for smoothing in (-0.1, 1.1, np.nan):
        sentence = f"label_smoothing must be in [0, 1], found {smoothing}"
        refused(ValueError, sentence, loss, ROW, LABELS, label_smoothing=smoothing)
    refused(TypeError, "where must be boolean, found int32", loss, ROW, LABELS, where=LABELS)
    sentence = "where must be (3,), one per example, found (3, 4)"
    refused(ValueError, sentence, loss, ROW, LABELS, where=ROW > 0)
    for label in (4, -1):
        sentence = f"labels must be classes from 0 to 3, found {label}; where= says which examples"
        refused(ValueError, sentence, loss, ROW, np.array([0, label, 1]))
        loss(ROW, np.array([0, label, 1]), where=np.array([True, False, True]))


FIRST = {case.op: case for case in reversed(representative())}


@pytest.mark.parametrize("case", FIRST.values(), ids=lambda case: case.id)
def test_only_floating_arrays_of_one_dtype(case):
    function, args = case.function(ops), case.arguments(np.float32)
    for place in differentiable(args):
        others = [*args[:place], args[place].astype(np.int32), *args[place + 1 :]]
        if (case.op, place) != ("softmax_cross_entropy", 1):
            refused(TypeError, "must be floating point, found int32", function, *others)
        others[place] = args[place].astype(bool)
        refused(TypeError, "must be floating point, found bool", function, *others)
        normalised = case.op.startswith("batch_norm") and place == 0  # beside channels in float32
        if len(differentiable(args)) > 1 and not normalised:
            others[place] = args[place].astype(jnp.bfloat16)
            refused(TypeError, "all arrays must share one dtype, found", function, *others)


def test_distributions_of_another_dtype_are_refused():
    low = ROW.astype(jnp.bfloat16)
    sentence = "all arrays must share one dtype, found logits: float32, labels: bfloat16"
    refused(TypeError, sentence, ops.softmax_cross_entropy, ROW.astype(np.float32), low)


def test_labels_of_another_kind_are_refused():
    loss = ops.softmax_cross_entropy
    kinds = "labels must be integers, or distributions of logits' dtype, found bool"
    refused(TypeError, kinds, loss, ROW, LABELS.astype(bool))
    for labels, found in ((None, "None"), ("cat", "a str"), ([[0, 1], [2]], "a list")):
        refused(TypeError, f"labels must be an array, found {found}", loss, ROW, labels)
        if labels is not None:
            sentence = f"where must be an array, found {found}"
            refused(TypeError, sentence, loss, ROW, LABELS, where=labels)


def test_a_mesh_axis_that_there_is_not_is_named():
    there = "must be one of the mesh that jax.shard_map is over, found 'devices'"
    for names in ("devices", ["devices"]):
        norm = partial(ops.batch_norm, axis_name=names)
        refused(ValueError, f"axis_name {there}", norm, ROW, CHANNEL, CHANNEL)
    drop = partial(ops.dropout, drop_rate=0.5)
    for spec in (("devices",), [None, ["devices"]]):
        refused(ValueError, f"spec's axes {there}", drop, ROW, KEY, spec=spec)
    refused(ValueError, "spec must be of x's 2 axes", drop, ROW, KEY, spec=(None,) * 3)
    for spec in ("devices", None):
        refused(TypeError, "spec must be a tuple of mesh axes", drop, ROW, KEY, spec=spec)
    with ops.spatial.split_over("devices"):
        refused(ValueError, f"split_over's mesh_axes {there}", ops.max_pool, IMAGE, 2)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("op", ["correlate", "max_pool", "dense", "batch_norm"])
def test_arrays_need_not_be_contiguous(op):
    """Views with steps, backwards, and with axes exchanged give what their copies give."""
    args = FIRST[op].arguments()
    views = [_view(a) for a in args]
    assert not any(v.flags.c_contiguous for v in views if v.ndim > 1)
    run = jax.jit(pullback(FIRST[op].function(ops)))
    dy = cotangents(FIRST[op].function(ops), args)
    assert_close(run(dy, *views), run(dy, *args), **tolerance("float64"))
    assert_close(run(jax.tree.map(_view, dy), *views), run(dy, *args), **tolerance("float64"))


def _view(a):
    """The same numbers in another order of memory: every axis has a step, the last runs back."""
    wide = np.zeros([2 * n for n in reversed(a.shape)])
    view = wide.T[tuple(slice(None, None, 2) for _ in a.shape)][..., ::-1]
    view[...] = a
    return view


def test_lists_and_numbers_of_numpy_will_do():
    x = np.ones((1, 4, 4, 1), np.float32)
    expected = ops.max_pool(x, 2, strides=1, padding=1)
    numbers = [
        (np.int64(2), np.int32(1)), ([2, 2], [1, 1]), (np.array([2, 2]), (1, 1)),
        (np.array(2), np.array(1)), (jnp.array(2), jnp.array(1)),
    ]  # fmt: skip
    for two, one in numbers:
        for namespace in (ops, reference):
            found = namespace.max_pool(x, two, strides=one, padding=[one, np.uint8(1)])
            assert (found == expected).all()
    w = np.ones((2, 2, 1, 1), np.float32)
    for one in (np.array(1), np.int8(1), [1, 1]):
        options = {"strides": one, "dilation": one, "padding": one}
        for namespace in (ops, reference):
            assert namespace.correlate(x, w, **options).shape == (1, 5, 5, 1)


def test_lists_will_do_for_arrays():
    for namespace in (ops, reference):
        assert namespace.relu([1.0, -2.0]).tolist() == [1, 0]
        assert namespace.dense([[1.0, 2.0]], [[1.0], [2.0]], [3.0]).tolist() == [[8]]
        assert namespace.correlate(x=[[[1.0], [2.0]]], w=[[[3.0]]]).tolist() == [[[3], [6]]]
        losses = namespace.softmax_cross_entropy(
            [[0.0, 9.0], [9.0, 0.0]], [0, 1], where=[False, True]
        )
        assert np.round(losses).tolist() == [0, 9]


def test_a_softmax_needs_an_axis():
    for namespace in (ops, reference):
        with pytest.raises(ValueError, match=r"^softmax: x must have an axis of classes"):
            namespace.softmax(jnp.ones(()))


@pytest.mark.parametrize("name", ["valid", "Same", "same_lower", "Full", "circular"])
def test_names_of_paddings_are_in_any_case(name):
    for op, w in ((ops.correlate, KERNEL), (ops.convolve_transpose, KERNEL), (ops.square_pool, 3)):
        if (op, name) != (ops.square_pool, "Full"):
            found, expected = (jax.eval_shape(lambda x, p=p, op=op, w=w: op(x, w, padding=p), IMAGE)
                               for p in (name, name.upper()))  # fmt: skip
            assert found == expected


def test_every_operation_is_tried_here():
    assert set(FIRST) == {case.op for case in CASES}
