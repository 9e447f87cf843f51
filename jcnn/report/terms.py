"""The gradient of one tap of a kernel, term by term.

The gradient of a kernel is the correlation of δ with the layer's input: for tap k from channel c to
channel d it is the sum, over all places, of δ there times the input that the tap read there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import starmap

import numpy as np

from jcnn.errors import UserError
from jcnn.geometry import Geometry, place_transposed
from jcnn.layers import Conv, ConvTranspose
from jcnn.layers.window import place
from jcnn.report.passes import Passage


@dataclass(frozen=True, eq=False)
class Terms:
    """∂L/∂w[k, c, d] as the sum of its terms.

    Attributes:
        tap: (*k, c, d), as the kernel is indexed.
        channels: The input channel that the tap reads, and the output channel.
        steady: What does not move with the tap: the plane of δ; of a transposed convolution, that
            of the input.
        moving: The padded plane that the tap reads from: the input; of a transposed convolution δ.
        read: What the tap reads of ``moving``, of the shape of ``steady``.
        products: ``steady`` times ``read``: the terms.
        rules: What the explicit rule gives for every tap of this pair of channels.
        geometry: Where the windows stand.
        flipped: Whether taps are counted from the other end of the window.
        transposed: Whether the layer is a transposed convolution.
    """

    tap: tuple[int, ...]
    channels: tuple[int, int]
    steady: np.ndarray
    moving: np.ndarray
    read: np.ndarray
    products: np.ndarray
    rules: np.ndarray
    geometry: Geometry
    flipped: bool
    transposed: bool

    @property
    def rule(self) -> float:
        """What the explicit rule gives for this tap."""
        return float(self.rules[self.tap[:-2]])

    @property
    def total(self) -> float:
        """The sum of the terms, in float64."""
        return float(self.products.sum(dtype=np.float64))

    def largest(self, count: int) -> list[tuple[tuple[int, ...], float, float, float]]:
        """The terms of largest magnitude: place, δ, input, product."""
        order = np.argsort(-np.abs(self.products), axis=None, kind="stable")[:count]
        places = [tuple(map(int, np.unravel_index(i, self.products.shape))) for i in order]
        return [
            (at, float(self.steady[at]), float(self.read[at]), float(self.products[at]))
            for at in places
        ]


def largest_tap(passage: Passage) -> tuple[int, ...]:
    """The tap with the gradient of largest magnitude, the first of equal ones."""
    grads = np.abs(passage.grads["w"])
    return tuple(map(int, np.unravel_index(grads.argmax(), grads.shape)))


def kernel_terms(passage: Passage, tap: Sequence[int] | None = None) -> Terms:
    r"""Write out the gradient of one tap of a layer's kernel.

    .. math:: \frac{\partial L}{\partial w}[k, c, d] = \sum_m \delta[m, d] \, a[m - k, c]

    Args:
        passage: Of a ``conv`` or ``conv_transpose`` layer.
        tap: (*k, c, d); the one of the largest gradient where not given.

    Raises:
        UserError: The layer has no kernel, or the kernel has no such tap.
    """
    layer = passage.layer
    if not isinstance(layer, Conv | ConvTranspose):
        raise UserError(
            f"layer '{passage.name}' is a {layer.type}; expected a conv or conv_transpose layer, "
            "whose kernel has taps"
        )
    tap = largest_tap(passage) if tap is None else _checked(passage, tuple(tap))
    *k, c, d = tap
    group = d // (layer.features // layer.groups)
    channels = group * (passage.x.shape[-1] // layer.groups) + c, d
    x, dy = passage.x[..., channels[0]], passage.dy[..., d]
    geometry = _geometry(passage)
    transposed = isinstance(layer, ConvTranspose)
    flipped = not transposed and not layer.correlate
    steady, moving = (x, dy) if transposed else (dy, x)
    padded = _padded(moving, geometry)
    read = padded[tuple(starmap(slice, _ends(geometry, k, flipped, steady.shape)))]
    read = read[tuple(slice(None, None, s) for s in geometry.strides)]
    rules = passage.grads["w"][..., c, d]
    return Terms(
        tap, channels, steady, padded, read, steady * read, rules, geometry, flipped, transposed
    )  # fmt: skip


def _geometry(passage: Passage) -> Geometry:
    layer, shape = passage.layer, passage.x.shape
    window = {key: getattr(layer, key) for key in ("window", "strides", "padding", "dilation")}
    if isinstance(layer, ConvTranspose):
        return place_transposed(shape[:-1], **window, output_padding=layer.output_padding)
    return place(shape, **window)


def _padded(plane: np.ndarray, g: Geometry) -> np.ndarray:
    """Pad with zeros or with the plane itself, as the layer does; crop where that is negative."""
    mode = {"CIRCULAR": "wrap", "REFLECT": "reflect", "REPLICATE": "edge"}.get(g.fill, "constant")
    added = [(max(lo, 0), max(hi, 0)) for lo, hi in g.padding]
    cropped = [
        slice(max(-lo, 0), n - max(-hi, 0))
        for n, (lo, hi) in zip(plane.shape, g.padding, strict=True)
    ]
    return np.pad(plane[tuple(cropped)], added, mode=mode)  # type: ignore[call-overload]


def _ends(
    g: Geometry, k: Sequence[int], flipped: bool, size: tuple[int, ...]
) -> list[tuple[int, int]]:
    """Begin and end of what a tap reads along each axis of the padded plane."""
    ends = []
    for index, window, dilation, stride, n in zip(
        k, g.window, g.dilation, g.strides, size, strict=True
    ):
        begin = dilation * (window - 1 - index if flipped else index)
        ends.append((begin, begin + stride * (n - 1) + 1))
    return ends


def _checked(passage: Passage, tap: tuple[int, ...]) -> tuple[int, ...]:
    shape = passage.grads["w"].shape
    fits = len(tap) == len(shape) and all(0 <= i < n for i, n in zip(tap, shape, strict=True))
    if not fits:
        last = ",".join(str(n - 1) for n in shape)
        raise UserError(
            f"layer '{passage.name}' has no tap {','.join(map(str, tap))}: expected "
            f"{len(shape)} numbers, up to {last}"
        )
    layer = passage.layer
    connections = getattr(layer, "connections", None)
    if connections is not None and tap[-2] not in connections[tap[-1]]:
        raise UserError(
            f"layer '{passage.name}': plane {tap[-1]} does not read plane {tap[-2]}, so this tap "
            "has no gradient"
        )
    return tap
