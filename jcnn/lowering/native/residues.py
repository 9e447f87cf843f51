"""An input gradient at strides, as correlations at stride 1: one for each residue of the places.

Of y[m] = sum_k w[k] x[s m + k - lo], place p of x meets the elements k = r + s t of the window,
where r = (p + lo) mod s. With p = s q + r - lo it is

    dx[p] = sum_t dy[q - t] w[r + s t]',

a correlation of dy at stride 1 with every s-th element of the flipped kernel. Nothing is multiplied
by zero, and nothing is added twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from jcnn.geometry import Geometry


@dataclass(frozen=True)
class Residue:
    """The places of x that meet the same elements of the window.

    Attributes:
        geometry: The correlation of dy that gives their dx.
        first: The first of these places, along each axis.
        every: How far the next one is: the strides.
        taps: The elements of the flipped kernel that they meet, along each axis.
    """

    geometry: Geometry
    first: tuple[int, ...]
    every: tuple[int, ...]
    taps: tuple[slice, ...]


def divides(g: Geometry) -> bool:
    """Whether each residue meets an element of the window, and those it meets are evenly spaced."""
    each = zip(g.window, g.strides, g.dilation, strict=True)
    return all(s == 1 or (s <= k and d == 1) for k, s, d in each)


def residues(g: Geometry) -> Iterator[Residue]:
    """Yield the residues of an input gradient's places, those that no place has left out."""
    for rest in product(*map(range, g.strides)):
        axes = [along(g, axis, r) for axis, r in enumerate(rest)]
        first, taps, window, padding = zip(*axes, strict=True)
        if all(f < n for f, n in zip(first, g.size, strict=True)):
            ones = (1,) * g.rank
            inner = Geometry(g.output, window, ones, padding, g.dilation, g.groups)
            yield Residue(inner, first, g.strides, taps)


def along(g: Geometry, axis: int, r: int) -> tuple[int, slice, int, tuple[int, int]]:
    """Return first place, taps of the flipped kernel, how many, and dy's padding along an axis."""
    size, window, s, d = (each[axis] for each in (g.size, g.window, g.strides, g.dilation))
    before, _ = g.padding[axis]
    taps = -(-(window - r) // s)
    begin = -(-(before - r) // s)  # the q of the first place
    first = s * begin + r - before
    places = -(-(size - first) // s)
    reach = d * (taps - 1)
    padding = reach - begin, places + begin - g.output[axis]
    return first, slice((window - 1 - r) % s, None, s), taps, padding
