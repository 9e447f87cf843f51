"""Real shapes for the exact comparison: those of networks that people train, and their edges."""

from __future__ import annotations

from typing import Any

from jcnn.proof import Call


def call(op: str, *shapes: tuple[int, ...], dtype: str = "float32", **options: Any) -> Call:
    """An operation on x, w and b (as many as there are shapes)."""
    arrays = tuple((name, shape, dtype) for name, shape in zip("xwb", shapes, strict=False))
    return Call(op, arrays, tuple(options.items()))


CORRELATIONS: dict[str, Call] = {
    "mnist-first": call("convolve", (128, 28, 28, 1), (5, 5, 1, 32), (32,)),
    "mnist-second": call("correlate", (64, 12, 12, 32), (5, 5, 32, 64), (64,)),
    "cifar-first": call("convolve", (32, 32, 32, 3), (3, 3, 3, 64), (64,), padding="SAME"),
    "residual-64": call("correlate", (8, 16, 16, 64), (3, 3, 64, 64), padding="SAME"),
    "residual-strided": call("correlate", (8, 16, 16, 64), (3, 3, 64, 128), strides=2, padding=1),
    "alexnet-first": call("convolve", (2, 63, 63, 3), (11, 11, 3, 96), (96,), strides=4),
    "alexnet-groups": call("convolve", (2, 13, 13, 48), (5, 5, 24, 128), groups=2, padding=2),
    "resnet-first": call("correlate", (2, 56, 56, 3), (7, 7, 3, 64), strides=2, padding=3),
    "bottleneck": call("correlate", (8, 14, 14, 256), (1, 1, 256, 64)),
    "bottleneck-strided": call("correlate", (4, 14, 14, 64), (1, 1, 64, 128), strides=2),
    "depthwise": call("convolve", (8, 16, 16, 64), (3, 3, 1, 64), groups=64, padding="SAME"),
    "depthwise-strided": call("correlate", (4, 17, 17, 32), (3, 3, 1, 64), groups=32, strides=2),
    "groups-of-many": call("correlate", (4, 9, 9, 64), (3, 3, 32, 64), groups=2, padding="SAME"),
    "depthwise-large": call("correlate", (2, 16, 14, 8), (9, 11, 1, 8), groups=8, padding="SAME"),
    "depthwise-long": call("convolve", (3, 150, 4), (70, 1, 8), groups=4, strides=3, padding=20),
    "groups-of-few": call("correlate", (2, 9, 9, 40), (3, 3, 8, 40), groups=5, padding=1),
    "long": call("correlate", (3, 200, 1), (100, 1, 6)),
    "large": call("convolve", (2, 20, 20, 1), (17, 13, 1, 4), padding=3),
    "dilated": call("correlate", (4, 17, 17, 16), (3, 3, 16, 24), dilation=2, padding=2),
    "dilated-strided": call("convolve", (2, 19, 18, 4), (3, 2, 4, 6), dilation=(2, 3), strides=2),
    "zip-code-first": call("convolve", (1, 16, 16, 1), (5, 5, 1, 12), strides=2, padding=2),
    "zip-code-second": call("convolve", (1, 8, 8, 12), (5, 5, 12, 12), strides=2, padding=2),
    "tdnn": call("convolve", (64, 15, 16), (3, 16, 8), (8,)),
    "long-window": call("correlate", (4, 300, 1), (64, 1, 16), strides=8),
    "volume": call("correlate", (2, 8, 9, 7, 4), (3, 3, 3, 4, 8), padding="SAME"),
    "volume-strided": call("convolve", (1, 9, 8, 7, 2), (2, 3, 2, 2, 4), strides=(2, 1, 3)),
    "full": call("convolve", (4, 9, 8, 6), (4, 3, 6, 5), padding="FULL"),
    "padding-before-the-window": call(
        "correlate", (2, 16, 16, 8), (3, 3, 8, 8), padding=((4, 0), (4, 0))
    ),
    "padding-after-the-window": call(
        "convolve", (2, 16, 12, 8), (3, 3, 8, 8), padding=((0, 5), (1, 7)), strides=(1, 2)
    ),
    "padding-beyond-few-channels": call("correlate", (9, 7, 9, 1), (3, 2, 1, 4), padding=4),
    "padding-beyond-groups": call("correlate", (2, 6, 7, 6), (3, 3, 2, 6), padding=5, groups=3),
    "stride-over-window": call("correlate", (4, 17, 17, 6), (2, 2, 6, 8), strides=3),
    "stride-over-window-padded": call("correlate", (3, 11, 6), (2, 6, 4), strides=5, padding=3),
    "rest-unused": call("convolve", (3, 18, 17, 5), (3, 3, 5, 7), strides=4),
    "window-as-large-as-input": call("correlate", (16, 5, 5, 8), (5, 5, 8, 20)),
    "batch-of-256": call("correlate", (256, 8, 8, 16), (3, 3, 16, 16), padding="SAME"),
    "circular": call("convolve", (4, 9, 10, 8), (3, 4, 8, 6), padding="circular", strides=(1, 2)),
    "reflect-filtered": call("correlate", (2, 12, 12, 64), (3, 3, 64, 64), padding="REFLECT"),
    "bias-per-position": call("convolve", (4, 8, 8, 3), (3, 3, 3, 5), (6, 6, 5)),
}
TRANSPOSED: dict[str, Call] = {
    name: call("convolve_transpose", *shapes, **options)
    for name, (shapes, options) in {
        "upsampling": (((8, 8, 8, 32), (4, 4, 32, 16), (16,)), {"strides": 2, "padding": 1}),
        "wide": (((2, 8, 8, 128), (4, 4, 128, 64)), {"strides": 2, "padding": "SAME"}),
        "same": (((4, 7, 6, 4), (3, 3, 4, 6)), {"strides": 2, "padding": "SAME"}),
        "unit": (((4, 9, 9, 16), (3, 3, 16, 16)), {"padding": 1}),
        "full": (((4, 9, 9, 4), (3, 3, 4, 4)), {"padding": "FULL"}),
        "synthesis": (((2, 20, 33), (32, 33, 1)), {"strides": 8}),
        "groups": (((2, 6, 5, 6), (3, 3, 2, 6)), {"strides": 2, "groups": 3}),
        "depthwise": (((2, 6, 5, 8), (3, 3, 1, 8)), {"strides": 2, "groups": 8}),
        "dilated": (((2, 6, 5, 4), (3, 2, 4, 3)), {"strides": 2, "dilation": 2}),
        "volume": (((1, 4, 3, 4, 2), (2, 3, 2, 2, 3)), {"strides": 2}),
        "cut-beyond-the-window": (((2, 9, 9, 4), (3, 3, 4, 5)), {"padding": ((3, 4), (5, 0))}),
        "stride-over-window": (((2, 5, 6, 3), (2, 2, 3, 4)), {"strides": 3}),
        "output-padding": (
            ((2, 5, 6, 3), (3, 2, 3, 4)),
            {"strides": (2, 1), "dilation": (1, 3), "padding": 1, "output_padding": (1, 2)},
        ),
    }.items()
}
POOLED: dict[str, tuple[tuple[int, ...], Any, dict[str, Any]]] = {
    "mnist": ((64, 24, 24, 32), 2, {}),
    "overlapping": ((4, 32, 32, 64), 3, {"strides": 2}),
    "overlapping-padded": ((4, 13, 13, 24), 3, {"strides": 2, "padding": "SAME"}),
    "rest-unused": ((3, 13, 11, 8), 2, {}),
    "stride-over-window": ((3, 13, 11, 8), 2, {"strides": 3}),
    "unequal": ((3, 12, 10, 33), (3, 2), {"strides": (1, 2), "padding": ((2, 0), (0, 1))}),
    "one": ((3, 5, 6, 8), 1, {"strides": 2}),
    "over-254-elements": ((2, 18, 17, 3), 16, {"strides": 1}),
    "large": ((2, 28, 28, 5), 14, {}),
    "large-apart": ((2, 23, 17, 5), (7, 6), {"strides": (9, 7), "padding": ((3, 2), (0, 5))}),
    "large-overlapping": (
        (2, 25, 22, 5),
        (12, 7),
        {"strides": (8, 2), "padding": ((5, 0), (0, 6))},
    ),
    "signal": ((64, 40, 24), 4, {}),
    "long-signal": ((3, 300, 4), 101, {"strides": 2, "padding": "SAME"}),
    "volume": ((2, 8, 8, 6, 4), 2, {}),
    "batch-of-256": ((256, 8, 8, 16), 2, {}),
    "ceil": ((3, 12, 11, 8), 3, {"strides": 2, "padding": ((1, 0), (0, 1)), "ceil_mode": True}),
}


def pools(op: str) -> dict[str, Call]:
    """The pools of one kind."""
    return {
        name: call(op, x, window=window, **options) for name, (x, window, options) in POOLED.items()
    }


# Every lowering that a pool can run in, wherever it serves.
POOL_WAYS: dict[str, dict[str, str]] = {
    "views": {
        "max_pool": "views", "window_sum": "views", "gather": "views",
        "scatter": "spread", "window_spread": "spread",
    },
    "overlap_add": {"scatter": "overlap_add", "window_spread": "overlap_add"},
    "doubling": {
        "max_pool": "doubling", "window_sum": "doubling", "window_spread": "doubling",
        "gather": "placed", "scatter": "placed",
    },
}  # fmt: skip


OTHERS: dict[str, Call] = {
    "dense-mnist": call("dense", (128, 1024), (1024, 256), (256,)),
    "dense-wide": call("dense", (32, 1000), (1000, 300)),
    "dense-one": call("dense", (1, 192), (192, 10), (10,)),
    "dense-axes": call("dense", (8, 15, 16), (16, 24), (24,)),
    "pad-reflect": call("pad", (4, 5, 6, 3), padding=((4, 2), (0, 7)), mode="reflect"),
    "pad-crop": call("pad", (4, 5, 6, 3), padding=((-1, 2), (0, -3))),
    "average-without-padding": call(
        "average_pool",
        (4, 9, 8, 3),
        window=3,
        strides=2,
        padding=1,
        count_include_pad=False,
        ceil_mode=True,
    ),
    "decimate": call("decimate", (8, 17, 16, 12), factor=(2, 3)),
    "decimate-signal": call("decimate", (4, 33, 5), factor=4),
    "global-max": call("global_max_pool", (16, 8, 8, 64)),
    "global-max-signal": call("global_max_pool", (16, 50, 8)),
    "global-average": call("global_average_pool", (16, 8, 8, 64)),
    "global-average-49": call("global_average_pool", (16, 7, 7, 64)),
    "relu": call("relu", (64, 12, 12, 32)),
    **{
        f"dropout-{rate}": Call(
            "dropout",
            (("x", (128, 256), "float32"), ("key", (), "key<fry>")),
            (("drop_rate", rate),),
        )
        for rate in (0.5, 0.2)
    },
}
HALVES: dict[str, Call] = {
    f"{name}-{dtype}": call(op, *shapes, dtype=dtype, **options)
    for dtype in ("bfloat16", "float16")
    for name, op, shapes, options in (
        ("few-channels", "correlate", ((4, 12, 12, 1), (5, 5, 1, 8)), {}),
        ("strided", "convolve", ((2, 9, 9, 8), (3, 3, 8, 16)), {"strides": 2, "padding": 1}),
        ("pad", "pad", ((2, 5, 3),), {"padding": ((9, 8),), "mode": "REFLECT"}),
        ("depthwise", "correlate", ((2, 9, 9, 8), (3, 3, 1, 8)), {"groups": 8}),
        ("transposed", "convolve_transpose", ((2, 5, 5, 4), (4, 4, 4, 3)), {"strides": 2}),
        ("bias", "dense", ((4, 9), (9, 5), (5,)), {}),
        ("max", "relu_max_pool", ((4, 8, 8, 8),), {"window": 3, "strides": 2}),
        ("average", "average_pool", ((4, 8, 8, 8),), {"window": 2}),
    )
}
DOUBLES: dict[str, Call] = {
    "residual": call("correlate", (2, 8, 8, 32), (3, 3, 32, 32), padding="SAME", dtype="float64"),
    "overlapping": call("max_pool", (2, 9, 9, 8), dtype="float64", window=3, strides=2),
}
# Small ones, for every lowering that can serve.
FORCED: dict[str, Call] = {
    "same": call("correlate", (11, 10, 9, 6), (3, 3, 6, 9), padding="SAME"),
    "few-channels": call("correlate", (7, 9, 12, 2), (5, 3, 2, 4)),
    "strided": call("correlate", (5, 11, 10, 3), (4, 4, 3, 5), strides=2, padding=1),
    "strided-unevenly": call("correlate", (5, 13, 9, 4), (3, 2, 4, 5), strides=(2, 3)),
    "signal": call("correlate", (6, 40, 3), (8, 3, 5), strides=3, padding=4),
    "dilated": call("correlate", (5, 12, 11, 4), (3, 2, 4, 6), dilation=(2, 3), padding=2),
    "groups": call("correlate", (5, 9, 8, 6), (3, 3, 2, 9), groups=3, padding=1),
    "depthwise-strided": call("correlate", (5, 9, 8, 6), (3, 3, 1, 12), groups=6, strides=2),
    "volume": call("correlate", (3, 6, 5, 7, 2), (3, 1, 3, 2, 4), padding=1),
    "beyond": call("correlate", (5, 6, 9, 3), (3, 3, 3, 4), padding=((5, 0), (1, 4))),
    "narrow": call("correlate", (5, 6, 7, 1), (2, 2, 1, 8)),
    "large": call("correlate", (4, 9, 15, 4), (5, 11, 2, 6), groups=2, padding=2),
    "large-strided": call("correlate", (3, 11, 15, 2), (5, 11, 1, 4), groups=2, strides=(2, 3)),
    "one": call("correlate", (5, 6, 9, 8), (1, 1, 8, 4), strides=2),
}
