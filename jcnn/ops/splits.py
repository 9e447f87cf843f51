"""How devices share the three correlations, where the compiler splits their arrays over a mesh.

===================  ==================================================================
split                then
===================  ==================================================================
the images           F and X are each device's own; W is summed over the devices
features D           F and W are each device's own; X is summed
channels C           X and W are each device's own; F is summed
groups               all three are each device's own
===================  ==================================================================

Positions stay together: an image that is split in space is :mod:`jcnn.ops.spatial`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

from jcnn.geometry import Geometry
from jcnn.ops.partition import Axes, Split

Shape: TypeAlias = tuple[int, ...]


def of_image(g: Geometry, x: Shape, w: Shape, y: Shape) -> Split:
    """F, from x (N, *size, C) and w (*window, C/G, D) to (N, *output, D)."""
    image, kernel, output, sizes = _axes(g, x[-1], y[-1])
    return Split((image, kernel), output, _factors(g), sizes, _on_part(g))


def of_transposed(g: Geometry, dy: Shape, w: Shape, dx: Shape) -> Split:
    """X, from dy and w to (N, *size, C)."""
    image, kernel, output, sizes = _axes(g, dx[-1], dy[-1])
    return Split((output, kernel), image, _factors(g), sizes, _on_part(g))


def of_kernel(g: Geometry, x: Shape, dy: Shape, dw: Shape) -> Split:
    """W, from x and dy to (*window, C/G, D)."""
    image, kernel, output, sizes = _axes(g, x[-1], dy[-1])
    return Split((image, output), kernel, _factors(g), sizes, _on_part(g))


def _factors(g: Geometry) -> tuple[str, ...]:
    return ("n", "g") if g.groups > 1 else ("n", "d", "c")


def _axes(g: Geometry, channels: int, features: int) -> tuple[Axes, Axes, Axes, dict[str, int]]:
    """The axes of an image, a kernel and an output; sizes of what is no axis by itself."""
    size, window, output = ([f"{of}{i}" for i in range(g.rank)] for of in "xwy")
    c, d, sizes = "c", "d", {}
    if g.groups > 1:
        # There are no runs of one: then the groups are the axis.
        c, d = (f"g {a}" if n > g.groups else "g" for a, n in ((c, channels), (d, features)))
        sizes = {"g": g.groups} if "g" not in (c, d) else {}
        sizes |= {"d": features // g.groups} if d == "g d" else {}
    return ("n", *size, c), (*window, "c", d), ("n", *output, d), sizes


def _on_part(g: Geometry) -> Callable[[Mapping[str, int]], tuple[Geometry]]:
    def statics(counts: Mapping[str, int]) -> tuple[Geometry]:
        return (replace(g, groups=g.groups // counts.get("g", 1)),)

    return statics
