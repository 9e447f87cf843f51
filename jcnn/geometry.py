"""Where a window stands: parsed and placed once, for operations, layers and lowerings alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from jcnn.axes import (
    FILLS,
    ZEROS,
    Axes,
    Padding,
    Pairs,
    boolean,
    check_filled,
    fill_of,
    integer,
    known,
    over,
    pads,
    per_axis,
    resized,
    times,
)


@dataclass(frozen=True)
class Geometry:
    """The static shape of a sliding window, one entry per spatial axis.

    Attributes:
        size: Spatial size of the input, in elements.
        window: Spatial size of the kernel or pool.
        strides: Step between neighbouring windows.
        padding: Elements added before and after each axis; where negative, elements cropped.
        dilation: Step between neighbouring elements of one window.
        groups: Number of channel groups that do not see each other.
        fill: What is added: "ZEROS", or elements of the input itself, as one of ``FILLS`` says.
    """

    size: tuple[int, ...]
    window: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int = 1
    fill: str = ZEROS

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.window)

    @property
    def span(self) -> tuple[int, ...]:
        """Input elements from the first to the last of one window, along each axis."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.window, self.dilation, strict=True))

    @property
    def padded(self) -> tuple[int, ...]:
        """Spatial size of the input with its padding."""
        return tuple(s + lo + hi for s, (lo, hi) in zip(self.size, self.padding, strict=True))

    @property
    def output(self) -> tuple[int, ...]:
        """Spatial size of the output."""
        return tuple(
            (n - span) // stride + 1
            for n, span, stride in zip(self.padded, self.span, self.strides, strict=True)
        )

    @property
    def rest(self) -> tuple[int, ...]:
        """Elements of the padded input behind the last window."""
        return tuple(
            n - span - stride * (m - 1)
            for n, span, stride, m in zip(
                self.padded, self.span, self.strides, self.output, strict=True
            )
        )

    @property
    def border(self) -> Pairs:
        """What no window does by itself: elements filled from the input, or (negative) cropped."""
        if self.fill != ZEROS:
            return self.padding
        return tuple((-over(-lo), -over(-hi)) for lo, hi in self.padding)

    def bordered(self) -> Geometry:
        """The same windows over an input that has its border: padded with zeros alone."""
        edges = list(zip(self.padding, self.border, strict=True))
        return replace(
            self,
            size=resized(self.size, self.border),
            padding=tuple((lo - a, hi - b) for (lo, hi), (a, b) in edges),
            fill=ZEROS,
        )

    @property
    def excess(self) -> tuple[tuple[int, int], ...]:
        """Padding beyond a window's reach (its span less one), before and after each axis.

        Windows that lie in it wholly see no input; XLA's gradients of such a convolution would
        have negative padding.
        """
        return tuple(
            (over(lo - span + 1), over(hi - span + 1))
            for span, (lo, hi) in zip(self.span, self.padding, strict=True)
        )

    def within_reach(self) -> Geometry:
        """The same windows over an input that holds the excess already."""
        edges = list(zip(self.padding, self.excess, strict=True))
        return replace(
            self,
            size=tuple(n + a + b for n, (a, b) in zip(self.size, self.excess, strict=True)),
            padding=tuple((lo - a, hi - b) for (lo, hi), (a, b) in edges),
        )

    @property
    def taps(self) -> int:
        """Number of elements in one window."""
        return prod(self.window)


def place(
    size: tuple[int, ...],
    window: Axes,
    strides: Axes,
    padding: Padding,
    dilation: Axes = 1,
    groups: int = 1,
) -> Geometry:
    """Resolve a sliding window."""
    rank = len(size)
    window, strides, dilation = (
        per_axis(name, value, rank)
        for name, value in (("window", window), ("strides", strides), ("dilation", dilation))
    )
    groups = integer("groups", groups, 1)
    span = tuple(d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True))
    edges = pads(padding, size, span, strides)
    resolved = Geometry(size, window, strides, edges, dilation, groups, fill_of(padding))
    check_filled(resolved.fill, size, resolved.border)
    if any(known(n) and n < 1 for n in resolved.output):
        raise ValueError(_too_large(resolved))
    inside = resolved.bordered().size if any(map(any, resolved.border)) else ()
    if any(known(n) and n < 1 for n in inside):
        raise ValueError(f"padding {edges} leaves nothing of the input {times(size)}")
    return resolved


def _too_large(g: Geometry) -> str:
    dilated = f" ({times(g.span)} with its dilation)" if g.span != g.window else ""
    (lo, hi), *others = dict.fromkeys(g.padding)
    shown = lo if lo == hi and not others else [list(pair) for pair in g.padding]
    return (
        f"window {times(g.window)}{dilated} is larger than its input {times(g.size)} "
        f"(with padding {shown})"
    )


def place_pool(
    size: tuple[int, ...],
    window: Axes,
    strides: Axes | None,
    padding: Padding,
    *,
    ceil_mode: bool = False,
) -> Geometry:
    """Resolve a pool's window; refuse one that padding alone can fill.

    ``strides=None`` means the window itself.
    With ``ceil_mode`` a last window may reach beyond the padding, if it begins before its end.
    """
    resolved = place(size, window, window if strides is None else strides, padding)
    if any(known(n) and n < 1 for n in resolved.size):
        raise ValueError(f"windows of padding alone: the input {times(size)} has no elements")
    for span, pair in zip(resolved.span, resolved.padding, strict=True):
        if known(*pair) and max(pair) >= span:
            raise ValueError(
                f"padding must be smaller than the window {resolved.window}, "
                f"found {resolved.padding}"
            )
    return _up_to_the_last(resolved) if boolean("ceil_mode", ceil_mode) else resolved


def _up_to_the_last(g: Geometry) -> Geometry:
    """Pad for one window more where a rest is left behind, unless it would hold padding alone."""
    _check_zeros("ceil_mode", g)
    edges = []
    for n, (lo, hi), s, m, rest in zip(g.size, g.padding, g.strides, g.output, g.rest, strict=True):
        more = rest > 0 and s * m - lo < n
        edges.append((lo, hi + s - rest if more else hi))
    return replace(g, padding=tuple(edges))


def _check_zeros(option: str, g: Geometry) -> None:
    if any(map(any, g.border)):
        wanted, instead = ("of at least 0", "crop") if g.fill == ZEROS else ("of zeros", "pad")
        found = g.padding if g.fill == ZEROS else f"{g.fill} of {g.padding}"
        raise ValueError(f"{option} goes with padding {wanted}, found {found}; {instead} before")


def _check_more(g: Geometry, more: tuple[int, ...]) -> None:
    if g.fill != ZEROS:
        raise ValueError(f"output_padding goes with padding of zeros, found {g.fill}")
    for n, s, d in zip(more, g.strides, g.dilation, strict=True):
        if n >= max(s, d):
            raise ValueError(
                f"output_padding must be smaller than the strides {g.strides} or the dilation "
                f"{g.dilation}, found {more}"
            )


def place_transposed(
    inner: tuple[int, ...],
    window: Axes,
    strides: Axes,
    padding: Padding,
    dilation: Axes = 1,
    groups: int = 1,
    output_padding: Axes = 0,
) -> Geometry:
    """Resolve the correlation with the output ``inner``, whose adjoint transposes a convolution."""
    rank = len(inner)
    window, strides, dilation = (
        per_axis(name, value, rank)
        for name, value in (("window", window), ("strides", strides), ("dilation", dilation))
    )
    size = transposed_size(inner, window, strides, padding, dilation)
    placed = place(size, window, strides, padding, dilation, groups)
    return _extended(placed, per_axis("output_padding", output_padding, rank, minimum=0))


def _extended(g: Geometry, more: tuple[int, ...]) -> Geometry:
    """The same windows over an input that has more elements behind."""
    if not any(more):
        return g
    _check_more(g, more)
    pairs = zip(g.padding, more, g.rest, g.strides, strict=True)
    edges = tuple((lo, hi - (n + rest) // s * s) for (lo, hi), n, rest, s in pairs)
    return replace(g, size=tuple(map(sum, zip(g.size, more, strict=True))), padding=edges)


def transposed_size(
    inner: tuple[int, ...],
    window: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
) -> tuple[int, ...]:
    """Return the size whose correlation has the size ``inner``."""
    if isinstance(padding, str) and padding.upper() in ("SAME", "SAME_LOWER", *FILLS):
        return tuple(s * n for s, n in zip(strides, inner, strict=True))
    span = tuple(d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True))
    cut = pads(padding, inner, span, strides)
    size = tuple(
        s * (n - 1) + k - lo - hi
        for n, s, k, (lo, hi) in zip(inner, strides, span, cut, strict=True)
    )
    if any(known(n) and n < 1 for n in size):
        raise ValueError(f"padding {cut} leaves nothing of the output, found size {size}")
    return size
