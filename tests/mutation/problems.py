"""Small problems, that together meet every line of the rules and lowerings."""

from __future__ import annotations

from jcnn.geometry import Geometry
from tests.proof.problems import FORCED, call

POOLS = {
    "overlapping": call("max_pool", (2, 7, 6, 2), window=3, strides=2, padding=((1, 0), (0, 2))),
    "disjoint": call("max_pool", (2, 5, 4, 3), window=2),
    "apart": call("max_pool", (1, 8, 9, 2), window=2, strides=3),
    "unequal": call("max_pool", (1, 6, 7, 2), window=(3, 2), strides=(1, 2)),
    "32-channels": call("max_pool", (1, 4, 6, 32), window=2),
    "volume": call("max_pool", (1, 3, 4, 3, 2), window=2, strides=1),
    "reaching beyond": call(
        "max_pool", (2, 7, 7, 2), window=3, strides=2, padding=((1, 0), (0, 1)), ceil_mode=True
    ),
    "large": call("max_pool", (2, 13, 12, 2), window=(6, 5), padding=((3, 0), (0, 2))),
    "large-apart": call("max_pool", (1, 17, 12, 2), window=(7, 5), strides=(8, 7)),
    "large-overlapping": call("max_pool", (2, 18, 15, 2), window=(6, 7), strides=(4, 2), padding=2),
    "large-unit": call("max_pool", (1, 9, 11, 2), window=(5, 7), strides=1),
}
ONE, PADDED = (1, 1), ((1, 0), (0, 2))
DILATED = {
    "strides": Geometry((7, 8), (3, 2), (2, 1), PADDED, (1, 3)),
    "no-strides": Geometry((8, 7), (2, 3), ONE, PADDED, (2, 1)),
    "undilated": Geometry((5, 6), (3, 2), (1, 2), PADDED, ONE),
    "large": Geometry((12, 15), (6, 7), (4, 2), PADDED, ONE),
    "large-dilated": Geometry((12, 15), (5, 6), (4, 2), PADDED, (2, 1)),
}
# Beside what is small and forced in the exact tests.
PROBLEMS = {
    **FORCED,
    "beyond-one-axis": call("correlate", (2, 6, 7, 3), (3, 2, 3, 4), padding=((4, 0), (0, 1))),
    "strided-along-one-axis": call("correlate", (2, 6, 9, 2), (3, 2, 2, 4), strides=(1, 2)),
    "single-example": call("correlate", (1, 6, 7, 3), (3, 2, 3, 4), padding=((2, 1), (0, 0))),
    "strided-single-example": call("correlate", (1, 9, 8, 2), (3, 3, 2, 4), strides=2, padding=0),
    "cropped": call("correlate", (2, 8, 9, 2), (3, 2, 2, 4), padding=((-1, 0), (0, -2))),
    "cropped-before": call("correlate", (2, 8, 9, 2), (3, 2, 2, 4), padding=((-1, 1), (-2, 2))),
    "same-one": call("correlate", (2, 5, 6, 3), (1, 1, 3, 4), padding="SAME"),
    "no-example": call("correlate", (0, 6, 7, 4), (3, 2, 2, 6), (6,), groups=2),
}
# Windows of some more taps, and of many: whose sums have other forms, and are compiled for longer.
MANY_TAPS = {
    "taps": call("correlate", (2, 8, 7, 2), (5, 4, 1, 2), groups=2, strides=(1, 2), padding=1),
    "rows": call(
        "correlate", (1, 7, 40, 2), (3, 18, 1, 2), groups=2, dilation=2, padding=((1, 0), (0, 3))
    ),
    "strided": call(
        "correlate",
        (1, 8, 41, 2),
        (3, 18, 1, 2),
        groups=2,
        strides=(2, 3),
        padding=((2, 0), (0, 3)),
    ),
    "one axis": call("correlate", (2, 70, 2), (53, 1, 4), groups=2, padding=((2, 1),)),
}
MORE = {"direct": MANY_TAPS, "windows": MANY_TAPS}
# No example; no position, but those of padding.
NOTHING = (
    call("correlate", (0, 6, 7, 4), (3, 2, 2, 6), groups=2, dilation=2, padding=1),
    call("correlate", (0, 9, 4), (3, 4, 6), dilation=2),
    call("correlate", (2, 0, 4), (3, 4, 6), padding=2),
)
# Of the first argument all but the channels may be open.
OPEN = {
    "same": call("correlate", (2, 8, 7, 3), (3, 3, 3, 4), padding="SAME"),
    "strided": call("correlate", (2, 9, 8, 3), (3, 2, 3, 4), strides=2, padding=1),
    "same, strided": call(
        "correlate", (2, 9, 8, 3), (3, 4, 3, 4), strides=(1, 2), padding="SAME_LOWER"
    ),
    "apart": call("correlate", (2, 9, 8, 3), (2, 2, 3, 4), strides=3),
    "depthwise": call("correlate", (2, 8, 7, 4), (3, 3, 1, 4), groups=4, padding=1),
    "transposed": call("convolve_transpose", (2, 7, 8, 3), (4, 4, 3, 2), strides=2, padding="SAME"),
    "pool": call("max_pool", (2, 7, 9, 2), window=3, strides=2, padding="SAME"),
    "pool, apart": call("max_pool", (2, 7, 9, 2), window=2, strides=3, padding="SAME"),
    "large pool": call("max_pool", (2, 13, 12, 2), window=7, strides=1),
    "average": call("average_pool", (2, 9, 8, 2), window=3, strides=2, padding=1),
    "dense": call("dense", (3, 4), (4, 5)),
}
# Every way of :mod:`jcnn.ops.folds`, the loop as well.
EXAMPLES = {
    "groups": call("convolve", (2, 7, 6, 4), (3, 2, 2, 6), groups=2, strides=2),
    "looped": call("correlate", (9, 20, 20, 8), (3, 3, 8, 8), padding=1),
    "transposed": call("convolve_transpose", (2, 5, 4), (4, 2, 6), strides=2, groups=2),
    "dense": call("dense", (3, 4), (4, 5)),
}
