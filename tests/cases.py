"""The table of cases that every rule is proved on: an operation, its arguments, its options."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

Draw = Callable[[np.random.Generator], np.ndarray]


def normal(*shape: int) -> Draw:
    return lambda generator: generator.standard_normal(shape)


def uniform(*shape: int, low: float = 0.1, high: float = 0.9) -> Draw:
    return lambda generator: generator.uniform(low, high, shape)


def distribution(*shape: int) -> Draw:
    return lambda generator: generator.dirichlet(np.ones(shape[-1]), shape[:-1])


def labels(*shape: int, classes: int, dtype: str = "int32") -> Draw:
    return lambda generator: generator.integers(0, classes, shape).astype(dtype)


def key() -> Draw:
    return lambda generator: jax.random.key(7)


@dataclass(frozen=True)
class Case:
    """One operation on arguments of given shapes; options are keyword arguments."""

    op: str
    name: str
    draws: tuple[Draw, ...]
    options: dict[str, Any] = field(default_factory=dict)
    positional: tuple[Any, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.op}-{self.name}"

    def arguments(self, dtype: Any = np.float64) -> list[Any]:
        """Draw the arrays anew, the same each time; floating ones in ``dtype``."""
        generator = np.random.default_rng(zlib.crc32(self.id.encode()))
        drawn = [draw(generator) for draw in self.draws]
        floating = [isinstance(a, np.ndarray) and a.dtype == np.float64 for a in drawn]
        return [a.astype(dtype) if f else a for a, f in zip(drawn, floating, strict=True)]

    def function(self, namespace: Any) -> Callable[..., Any]:
        """Return the operation of ``jcnn.ops`` or ``jcnn.reference`` with its options set."""
        op = getattr(namespace, self.op)
        return lambda *arrays: op(*arrays, *self.positional, **self.options)


def _window_cases(op: str) -> list[Case]:
    def case(name: str, x: tuple, w: tuple, b: tuple | None = None, **options: Any) -> Case:
        draws = (normal(*x), normal(*w)) + ((normal(*b),) if b else ())
        return Case(op, name, draws, options)

    transposed = op == "convolve_transpose"
    position = (8, 12, 4) if transposed else (3, 3, 4)
    return [
        case("1d-valid", (2, 9, 3), (4, 3, 2), (2,)),
        case("1d-same-even-window", (2, 7, 2), (4, 2, 3), padding="SAME"),
        case("1d-stride-over-window", (2, 10, 2), (2, 2, 3), strides=3),
        case("1d-rest-of-input-unused", (1, 10, 1), (3, 1, 2), strides=4),
        case("1d-dilation", (2, 11, 2), (3, 2, 2), dilation=3),
        case("1d-window-as-large-as-input", (2, 5, 2), (5, 2, 3)),
        case("1d-long-window-strided", (1, 70, 3), (32, 3, 2), strides=8),
        case("2d-valid", (2, 6, 5, 3), (3, 2, 3, 4), (4,)),
        case("2d-bias-a-position", (2, 6, 5, 3), (3, 3, 3, 4), position, strides=(2, 2), padding=1)
        if not transposed
        else case("2d-bias-a-position", (2, 6, 10, 3), (3, 3, 3, 4), position),
        case("2d-same-odd-window", (1, 5, 6, 2), (3, 3, 2, 2), padding="SAME"),
        case("2d-same-strided", (1, 7, 6, 2), (3, 4, 2, 2), padding="SAME", strides=(2, 3)),
        case("2d-full", (2, 4, 5, 2), (2, 3, 2, 3), padding="FULL"),
        case("2d-integer-padding", (2, 5, 5, 2), (3, 3, 2, 2), padding=1, strides=2),
        case("2d-uneven-padding", (1, 5, 6, 2), (3, 3, 2, 2), padding=((0, 1), (2, 1))),
        case("2d-padding-over-window", (1, 9, 9, 1), (2, 2, 1, 2), padding=((2, 3), (0, 2))),
        case("2d-dilation-stride-padding", (1, 9, 8, 2), (2, 3, 2, 2), padding=2, strides=(3, 2),
             dilation=(2, 3)),
        case("2d-two-groups", (2, 5, 5, 4), (3, 2, 2, 6), (6,), groups=2, padding="SAME"),
        case("2d-depthwise", (2, 6, 5, 4), (3, 3, 1, 4), groups=4, strides=(1, 2)),
        case("2d-depthwise-multiplier", (2, 5, 5, 3), (2, 2, 1, 6), groups=3),
        case("2d-window-of-one", (2, 4, 3, 5), (1, 1, 5, 2), (2,)),
        case("2d-window-of-one-strided", (2, 5, 4, 3), (1, 1, 3, 2), strides=2),
        case("2d-one-channel", (3, 6, 6, 1), (3, 3, 1, 5), (5,)),
        case("2d-one-feature", (2, 6, 6, 4), (3, 3, 4, 1)),
        case("2d-single-example", (1, 6, 6, 2), (5, 5, 2, 3)),
        case("2d-no-example", (0, 5, 5, 2), (3, 3, 2, 3), (3,)),
        case("2d-no-example-strided", (0, 6, 6, 1), (3, 3, 1, 3), (3,), strides=2),
        case("2d-batch-of-19", (19, 5, 5, 3), (3, 3, 3, 2), (2,)),
        case("2d-many-channels", (1, 5, 6, 64), (3, 3, 64, 3), padding="SAME"),
        case("2d-five-by-five-many", (3, 8, 8, 8), (5, 5, 8, 16), padding="SAME"),
        case("2d-eleven-stride-four", (1, 3, 3, 2) if transposed else (1, 19, 19, 2),
             (11, 11, 2, 2), strides=4),
        case("3d-valid", (2, 4, 3, 4, 2), (2, 2, 3, 2, 3), (3,)),
        case("3d-strided-same", (1, 5, 4, 3, 2), (3, 2, 2, 2, 2), strides=(2, 1, 2),
             padding="SAME"),
        case("2d-circular-strided", (2, 5, 4, 2), (3, 4, 2, 2), (2,), padding="CIRCULAR",
             strides=(1, 3)),
        case("2d-reflect-dilation", (1, 6, 5, 2), (2, 3, 2, 2), padding="reflect", dilation=(3, 1)),
        case("1d-replicate", (2, 6, 2), (5, 2, 3), padding="Replicate", strides=2),
        case("2d-same-lower", (1, 7, 6, 2), (3, 4, 2, 2), padding="same_lower", strides=(2, 1)),
        case("2d-crop", (2, 7, 6, 2), (3, 2, 2, 2), (2,), padding=((-2, 1), (1, -1)),
             strides=(2, 1)),
        case("1d-integer-crop", (2, 9, 2), (2, 2, 2), padding=-1),
    ]  # fmt: skip


def _transposed_cases() -> list[Case]:
    def case(name: str, x: tuple, w: tuple, **options: Any) -> Case:
        draws = (normal(*x), normal(*w), normal(w[-1]))
        return Case("convolve_transpose", name, draws, options)

    return [
        case("1d-output-padding-cut-less", (2, 4, 2), (3, 2, 3), strides=2, padding=1,
             output_padding=1),
        case("2d-output-padding", (2, 3, 4, 2), (3, 2, 2, 3), strides=(1, 3),
             padding=((1, 0), (0, 1)), dilation=(3, 1), output_padding=(2, 2)),
        case("2d-output-padding-of-one-axis", (2, 3, 4, 2), (3, 2, 2, 3), strides=(2, 1),
             padding=((1, 0), (0, 1)), output_padding=(1, 0)),
        case("1d-same-output-padding", (2, 3, 2), (2, 2, 2), strides=4, padding="SAME",
             output_padding=3),
    ]  # fmt: skip


def _pool_cases(op: str) -> list[Case]:
    def case(name: str, x: tuple, window: Any, **options: Any) -> Case:
        return Case(op, name, (normal(*x),), options, (window,))

    return [
        case("1d", (2, 8, 3), 2),
        case("1d-overlapping", (2, 9, 2), 3, strides=2),
        case("2d", (2, 6, 4, 3), 2),
        case("2d-rest-of-input-unused", (2, 7, 5, 2), 2),
        case("2d-overlapping", (2, 7, 7, 3), 3, strides=2),
        case("2d-stride-over-window", (1, 8, 9, 2), 2, strides=3),
        case("2d-unequal-window", (1, 6, 6, 2), (3, 2), strides=(1, 2)),
        case("2d-same", (1, 5, 6, 2), 3, strides=2, padding="SAME"),
        case("2d-uneven-padding", (1, 5, 5, 2), 3, strides=2, padding=((1, 0), (0, 2))),
        case("2d-window-of-one", (1, 3, 3, 2), 1),
        case("2d-whole-image", (2, 4, 5, 3), (4, 5)),
        case("2d-window-over-254-elements", (1, 17, 16, 1), (17, 15), strides=1),
        case("2d-no-example", (0, 4, 4, 2), 2),
        case("3d", (1, 4, 4, 4, 2), 2),
        case("3d-overlapping", (1, 4, 5, 4, 2), (2, 3, 2), strides=1),
        case("2d-ceil", (2, 7, 6, 2), 3, strides=(2, 4), padding=((1, 0), (0, 2)), ceil_mode=True),
        case("1d-ceil-window-of-one", (2, 7, 2), 1, strides=3, ceil_mode=True),
        case("1d-ceil-begins-beyond", (2, 5, 2), 3, strides=3, padding=((1, 2),), ceil_mode=True),
        case("2d-crop", (2, 7, 6, 2), 3, strides=2, padding=((-1, 0), (1, -2))),
        case("2d-circular", (2, 4, 5, 2), (3, 2), strides=(1, 2), padding="circular"),
    ]


def _average_cases() -> list[Case]:
    def case(name: str, x: tuple, window: Any, **options: Any) -> Case:
        options["count_include_pad"] = False
        return Case("average_pool", name, (normal(*x),), options, (window,))

    return [
        case("2d-without-padding", (2, 6, 5, 2), 3, strides=2, padding=((1, 0), (2, 1))),
        case("2d-ceil-without-padding", (1, 6, 5, 2), 3, strides=2, padding=1, ceil_mode=True),
        case("2d-same-lower-without-padding", (1, 5, 6, 2), 2, strides=1, padding="SAME_LOWER"),
    ]


def _pad_cases() -> list[Case]:
    def case(name: str, x: tuple, padding: Any, **options: Any) -> Case:
        return Case("pad", name, (normal(*x),), {"padding": padding, **options})

    return [
        case("2d-zeros", (2, 3, 4, 2), ((1, 2), (-1, 0))),
        case("1d-crop", (2, 5, 2), -1),
        case("2d-circular", (2, 3, 4, 2), ((2, 0), (1, 3)), mode="CIRCULAR"),
        case("2d-reflect", (2, 3, 4, 2), ((1, 2), (3, 0)), mode="reflect"),
        case("2d-replicate", (1, 3, 2, 2), 2, mode="Replicate"),
        case("1d-circular-longer-than-input", (2, 3, 2), ((4, 8),), mode="CIRCULAR"),
        case("1d-reflect-longer-than-input", (2, 3, 2), ((4, 8),), mode="REFLECT"),
        case("1d-reflect-one-element", (2, 1, 2), 2, mode="REFLECT"),
        case("1d-circular-two-elements", (2, 2, 2), 3, mode="CIRCULAR"),
        case("3d-reflect", (1, 3, 2, 3, 2), 1, mode="REFLECT"),
    ]


def _elementwise_cases() -> list[Case]:
    plain = ["relu", "leaky_relu", "sigmoid", "tanh", "scaled_tanh", "gelu", "softmax"]
    return [
        *(Case(op, "matrix", (normal(4, 5),)) for op in plain),
        *(Case(op, "image", (normal(2, 3, 3, 2),)) for op in plain),
        *(Case(op, "no-example", (normal(0, 5),)) for op in plain),
        Case("leaky_relu", "steep", (normal(4, 5),), {"slope": 0.3}),
        Case("scaled_tanh", "options", (normal(4, 5),), {"amplitude": 2.0, "rate": 0.5}),
        Case("softmax", "one-class", (normal(3, 1),)),
        Case("prelu", "slope-a-channel", (normal(2, 4, 3), normal(3))),
        Case("prelu", "shared-slope", (normal(2, 4, 3), normal())),
        Case("unit_step", "matrix", (normal(4, 5),)),
        Case("signum", "matrix", (normal(4, 5),)),
        Case("dropout", "half", (normal(6, 7), key()), {"drop_rate": 0.5}),
        Case("dropout", "image", (normal(2, 3, 3, 4), key()), {"drop_rate": 0.2}),
    ]


def _loss_cases() -> list[Case]:
    mse, bce, ce = "mean_squared_error", "binary_cross_entropy", "softmax_cross_entropy"
    return [
        Case(mse, "matrix", (normal(4, 3), normal(4, 3))),
        Case(mse, "one-output", (normal(4), normal(4))),
        Case(mse, "image", (normal(2, 3, 2, 2), normal(2, 3, 2, 2))),
        Case(mse, "no-example", (normal(0, 3), normal(0, 3))),
        Case(bce, "vector", (normal(5), uniform(5))),
        Case(bce, "matrix", (normal(4, 3), uniform(4, 3))),
        Case(ce, "integers", (normal(5, 4), labels(5, classes=4))),
        Case(ce, "distributions", (normal(5, 4), distribution(5, 4))),
        Case(ce, "smoothed-integers", (normal(5, 4), labels(5, classes=4)),
             {"label_smoothing": 0.1}),
        Case(ce, "smoothed-distributions", (normal(5, 4), distribution(5, 4)),
             {"label_smoothing": 0.2}),
        Case(ce, "weights-not-summing-to-one", (normal(5, 4), uniform(5, 4))),
        Case(ce, "one-class", (normal(3, 1), labels(3, classes=1))),
        Case(ce, "axis-one", (normal(2, 3, 4), labels(2, 4, classes=3, dtype="uint8")),
             {"axis": 1, "label_smoothing": 0.1}),
        Case(ce, "some-count", (normal(5, 4), distribution(5, 4)),
             {"where": np.array([True, False, True, True, False])}),
        Case(ce, "no-example", (normal(0, 4), labels(0, classes=4))),
    ]  # fmt: skip


def _other_cases() -> list[Case]:
    channels = (normal(3), normal(3))
    statistics = (*channels, normal(3), uniform(3))
    lrn = "local_response_norm"
    return [
        Case("dense", "bias", (normal(4, 3), normal(3, 5), normal(5))),
        Case("dense", "no-bias", (normal(1, 3), normal(3, 2))),
        Case("dense", "many-columns", (normal(2, 5), normal(5, 16_400))),
        Case("dense", "three-axes", (normal(2, 3, 4), normal(4, 5), normal(5))),
        Case("dense", "no-example", (normal(0, 3), normal(3, 2), normal(2))),
        Case("decimate", "1d", (normal(2, 7, 2),), {"factor": 3}),
        Case("decimate", "2d", (normal(2, 5, 6, 2),), {"factor": (2, 3)}),
        Case("decimate", "3d-by-one", (normal(1, 3, 2, 3, 2),), {"factor": (1, 2, 1)}),
        *(
            Case(op, name, (normal(*shape),))
            for op in ("global_max_pool", "global_average_pool")
            for name, shape in {
                "1d": (2, 5, 3), "2d": (2, 3, 4, 2), "3d": (1, 2, 3, 2, 2),
                "no-example": (0, 3, 3, 2),
            }.items()
        ),
        Case("batch_norm", "matrix", (normal(6, 3), *channels)),
        Case("batch_norm", "image", (normal(2, 4, 5, 3), *channels), {"epsilon": 0.1}),
        Case("batch_norm_inference", "matrix", (normal(6, 3), *statistics)),
        Case("batch_norm_inference", "image", (normal(2, 4, 5, 3), *statistics)),
        Case(lrn, "strong", (normal(2, 3, 3, 7),), {"scale": 0.3}),
        Case(lrn, "even-size", (normal(3, 6),), {"scale": 0.5, "size": 4, "power": 1.5}),
        Case(lrn, "size-over-channels", (normal(2, 3),), {"scale": 0.2, "size": 9}),
    ]  # fmt: skip


CASES: tuple[Case, ...] = (
    *(case for op in ("correlate", "convolve", "convolve_transpose") for case in _window_cases(op)),
    *(
        case
        for op in ("max_pool", "relu_max_pool", "average_pool", "square_pool")
        for case in _pool_cases(op)
    ),
    *_transposed_cases(),
    *_average_cases(),
    *_pad_cases(),
    *_elementwise_cases(),
    *_loss_cases(),
    *_other_cases(),
)


# Of the operations with many cases, those that differ in more than their sizes. A convolution is a
# correlation with the kernel flipped, and the pools share their windows with the max pool.
_DISTINCT = {
    "correlate": {"1d-valid", "1d-same-even-window", "2d-bias-a-position", "2d-padding-over-window",
                  "2d-dilation-stride-padding", "2d-two-groups", "2d-no-example",
                  "2d-circular-strided"},
    "convolve": {"1d-valid", "2d-uneven-padding"},
    "convolve_transpose": {"1d-valid", "1d-dilation", "2d-two-groups", "2d-reflect-dilation",
                           "2d-output-padding"},
    "max_pool": {"1d", "2d-rest-of-input-unused", "2d-stride-over-window", "2d-uneven-padding",
                 "2d-no-example", "3d-overlapping", "2d-ceil"},
    "relu_max_pool": {"2d-overlapping", "2d-same"},
    "average_pool": {"2d-overlapping", "2d-uneven-padding", "2d-ceil",
                     "2d-ceil-without-padding"},
    "pad": {"2d-zeros", "2d-reflect"},
    "square_pool": {"2d-overlapping", "2d-uneven-padding"},
    "dropout": {"half"},
    "softmax_cross_entropy": {"integers", "smoothed-distributions", "weights-not-summing-to-one",
                              "axis-one", "some-count"},
    "mean_squared_error": {"matrix", "no-example"},
    "local_response_norm": {"strong", "even-size"},
    "global_max_pool": {"2d"},
    "global_average_pool": {"2d"},
    "decimate": {"2d"},
    "dense": {"bias", "no-example"},
}  # fmt: skip


# Of them those that take longest, where others meet the same code.
_LONG = {
    "correlate": {"2d-circular-strided", "2d-bias-a-position", "2d-two-groups"},
    "convolve": {"1d-valid"},
    "convolve_transpose": {"1d-valid", "1d-dilation", "2d-two-groups", "2d-reflect-dilation"},
    "max_pool": {"2d-stride-over-window", "2d-uneven-padding"},
    "relu_max_pool": {"2d-same"},
    "average_pool": {"2d-ceil-without-padding", "2d-uneven-padding"},
    "square_pool": {"2d-uneven-padding"},
    "softmax_cross_entropy": {"integers", "axis-one", "weights-not-summing-to-one"},
    "local_response_norm": {"even-size"},
}


def is_quick(case: Case) -> bool:
    """Whether the case runs with the quick tests."""
    return is_distinct(case) and case.name not in _LONG.get(case.op, ())


def is_distinct(case: Case) -> bool:
    """Whether the case runs with every change; the others are as true."""
    chosen = _DISTINCT.get(case.op)
    return case.name not in ("image", "no-example") if chosen is None else case.name in chosen


def representative() -> tuple[Case, ...]:
    """Two cases an operation, where one case each would be too few and all too slow."""
    chosen: dict[str, list[Case]] = {}
    for case in CASES:
        if "no-example" not in case.name:
            chosen.setdefault(case.op, []).append(case)
    return tuple(
        case
        for cases in chosen.values()
        for case in {cases[0].id: cases[0], cases[-1].id: cases[-1]}.values()
    )
