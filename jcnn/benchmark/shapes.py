"""The table of ``jcnn bench --ops``: every shape it measures, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jcnn.errors import UserError
from jcnn.proof.recording import Call

FORWARD, BOTH = "forward", "forward and backward"
INPUT, KERNEL = "input gradient", "kernel gradient"
# Of examples that vmap maps one by one, and of each of them.
GRAD_OF_VMAP, VMAP_OF_GRAD = "gradient of vmap", "vmap of gradient"


@dataclass(frozen=True)
class Case:
    """An operation on fixed shapes.

    Attributes:
        group: What its rows are averaged with.
        title: Its shapes, for the table.
        call: The operation, its arrays and its options.
        passes: What is timed, a row each.
        scanned: Whether it is timed in a scan too.
    """

    group: str
    title: str
    call: Call
    passes: tuple[str, ...] = (BOTH,)
    scanned: bool = False


def _floats(**shapes: tuple[int, ...]) -> tuple[tuple[str, tuple[int, ...], str], ...]:
    return tuple((name, shape, "float32") for name, shape in shapes.items())


def convolution(x: tuple[int, ...], window: tuple[int, ...], features: int, **options: Any) -> Case:
    """A correlation of images of shape ``x``: forward, and each gradient by itself."""
    w = (*window, x[-1] // options.get("groups", 1), features)
    title = " ".join(
        [f"{x} → {features}", "x".join(map(str, window)), *(f"{k} {v}" for k, v in options.items())]
    )
    call = Call("correlate", _floats(x=x, w=w), tuple(options.items()))
    return Case("convolution", title, call, (FORWARD, INPUT, KERNEL), scanned=True)


def transposed(x: tuple[int, ...], window: tuple[int, ...], features: int, **options: Any) -> Case:
    """A transposed convolution, held against ``lax.conv_transpose``."""
    call = Call(
        "convolve_transpose", _floats(x=x, w=(*window, x[-1], features)), tuple(options.items())
    )
    title = f"{x} → {features} {'x'.join(map(str, window))} strides {options['strides']}"
    return Case("transposed convolution", title, call, (FORWARD, BOTH))


def pool(op: str, x: tuple[int, ...], window: int, **options: Any) -> Case:
    """A pool: forward and backward."""
    call = Call(op, _floats(x=x), (("window", window), *options.items()))
    strides = options.get("strides", window)
    return Case(op, f"{x} {window}x{window} strides {strides}", call, scanned=True)


def large(op: str, *shapes: tuple[int, ...], **options: Any) -> Case:
    """An operation whose window is large, forward and backward."""
    arrays = _floats(**dict(zip("xw", shapes, strict=False)))
    words = (*map(str, shapes), *(f"{k} {v}" for k, v in options.items()))
    return Case("large window", " ".join([op, *words]), Call(op, arrays, tuple(options.items())))


def mapped(op: str, x: tuple[int, ...], w: tuple[int, ...]) -> Case:
    """An operation on one example at a time, with a kernel that all share."""
    call = Call(op, _floats(x=x, w=w), ())
    return Case("examples", f"{op} {x} {w}", call, (GRAD_OF_VMAP, VMAP_OF_GRAD))


def other(op: str, title: str, arrays: tuple, **options: Any) -> Case:
    """Any other operation: forward and backward."""
    return Case(op, title, Call(op, arrays, tuple(options.items())))


CONVOLUTIONS = (
    convolution((128, 28, 28, 1), (5, 5), 32),
    convolution((128, 12, 12, 32), (5, 5), 64),
    convolution((64, 32, 32, 3), (3, 3), 64, padding=1),
    convolution((64, 32, 32, 16), (3, 3), 16, padding=1),
    convolution((64, 32, 32, 64), (3, 3), 64, padding=1),
    convolution((64, 16, 16, 128), (3, 3), 128, padding=1),
    convolution((64, 8, 8, 256), (3, 3), 256, padding=1),
    convolution((64, 32, 32, 64), (3, 3), 128, strides=2, padding=1),
    convolution((64, 16, 16, 256), (1, 1), 64),
    convolution((64, 32, 32, 64), (1, 1), 128, strides=2),
    convolution((8, 227, 227, 3), (11, 11), 96, strides=4),
    convolution((16, 27, 27, 96), (5, 5), 256, padding=2, groups=2),
    convolution((64, 32, 32, 64), (3, 3), 64, padding=1, groups=64),
    convolution((32, 112, 112, 8), (7, 7), 32, strides=2, padding=3),
    convolution((32, 1000, 64), (9,), 64, padding=4),
    convolution((32, 8000, 1), (80,), 64, strides=4),
)

POOLS = (
    pool("max_pool", (128, 28, 28, 32), 2),
    pool("max_pool", (64, 32, 32, 64), 2),
    pool("max_pool", (64, 32, 32, 64), 3, strides=2),
    pool("max_pool", (32, 27, 27, 256), 3, strides=2),
    pool("relu_max_pool", (128, 24, 24, 32), 2),
    pool("average_pool", (64, 32, 32, 64), 2),
    pool("square_pool", (64, 32, 32, 64), 2),
)

TRANSPOSED = (
    transposed((1, 200, 513), (1024,), 1, strides=256),
    transposed((8, 200, 513), (1024,), 1, strides=256),
    transposed((16, 16, 16, 128), (4, 4), 64, strides=2, padding=1),
)

_IMAGES = "(64, 32, 32, 64)", _floats(x=(64, 32, 32, 64))
_LOGITS = _floats(logits=(4096, 100))
OTHERS = (
    other("pad", "(64, 32, 32, 64) circular", _IMAGES[1], padding=1, mode="CIRCULAR"),
    other("global_max_pool", *_IMAGES),
    other("global_average_pool", *_IMAGES),
    other("scaled_tanh", *_IMAGES),
    other("gelu", *_IMAGES),
    other("local_response_norm", "(32, 27, 27, 96)", _floats(x=(32, 27, 27, 96))),
    other(
        "batch_norm",
        "(64, 32, 32, 64)",
        _floats(x=(64, 32, 32, 64), scale=(64,), offset=(64,)),
    ),
    other(
        "dropout",
        "(128, 4096)",
        (*_floats(x=(128, 4096)), ("key", (), "key<fry>")),
        drop_rate=0.5,
    ),
    other("softmax_cross_entropy", "(4096, 100)", (*_LOGITS, ("labels", (4096,), "int32"))),
    other(
        "softmax_cross_entropy",
        "(4096, 100) label smoothing 0.1",
        (*_LOGITS, ("labels", (4096,), "int32")),
        label_smoothing=0.1,
    ),
    other("binary_cross_entropy", "(4096, 100)", (*_LOGITS, *_floats(target=(4096, 100)))),
    other(
        "mean_squared_error",
        "(4096, 100)",
        _floats(prediction=(4096, 100), target=(4096, 100)),
    ),
)

LARGE = (
    large("max_pool", (8, 56, 56, 64), window=56),
    large("max_pool", (8, 56, 56, 64), window=28),
    large("max_pool", (8, 56, 56, 64), window=16, strides=1),
    large("average_pool", (8, 56, 56, 64), window=32, strides=1),
    large("correlate", (8, 32, 32, 64), (13, 13, 1, 64), groups=64, padding="SAME"),
    large("correlate", (4, 32, 32, 64), (31, 31, 1, 64), groups=64, padding="SAME"),
    large("correlate", (16, 1000, 64), (127, 1, 64), groups=64, padding="SAME"),
    large("correlate", (16, 1000, 64), (256, 1, 64), groups=64, padding="SAME"),
    large("correlate", (8, 8192, 1), (1024, 1, 16)),
    large("correlate", (4, 128, 128, 1), (65, 65, 1, 16)),
    large("correlate", (16, 16, 16, 256), (3, 3, 8, 256), groups=32, padding="SAME"),
)

MAPPED = (
    mapped("correlate", (128, 12, 12, 32), (5, 5, 32, 64)),
    mapped("correlate", (64, 16, 16, 64), (3, 3, 64, 64)),
    mapped("dense", (128, 1024), (1024, 256)),
)

CASES = (*POOLS, *CONVOLUTIONS, *TRANSPOSED, *OTHERS, *LARGE, *MAPPED)


def choose_cases(text: str = "") -> tuple[Case, ...]:
    """Return the cases whose group or title holds ``text``.

    Raises:
        UserError: There are none.
    """
    chosen = tuple(case for case in CASES if text in f"{case.group} {case.title}")
    if not chosen:
        groups = sorted({case.group for case in CASES})
        raise UserError(
            f"--only '{text}' is in no row of --ops; expected part of a shape, or of one of "
            f"{', '.join(groups)}"
        )
    return chosen
