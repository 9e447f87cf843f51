"""Curves as inline SVG, in the page's own colours: light, dark and print alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 560, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 12, 40
_TICKS = 5
_DASHES = ("", "6 3", "2 3", "8 3 2 3")
_CENTRED = 'text-anchor="middle"'
COLOURS = 6  # as many as the style sheet names


@dataclass(frozen=True)
class Curve:
    """A named curve; points whose y is None or not finite are left out."""

    name: str
    points: Sequence[tuple[float, float | None]]
    colour: int = 0
    dash: int = 0


def draw(curves: Sequence[Curve], *, title: str, x_label: str, y_label: str) -> Markup:
    """Draw curves over each other, with axes, a legend and a description.

    >>> "<title>losses</title>" in draw([Curve("a", [(0, 1), (1, 2)])], title="losses",
    ...                                 x_label="epoch", y_label="loss")
    True
    """
    cleaned = [(curve, _finite(curve)) for curve in curves]
    points = [point for _, kept in cleaned for point in kept]
    if not points:
        return Markup("<p>Nothing was evaluated yet.</p>")
    xs, ys = (_range([p[axis] for p in points]) for axis in (0, 1))
    parts = [_axes(xs, ys, x_label, y_label)]
    parts += [_line(curve, kept, xs, ys) for curve, kept in cleaned if kept]
    described = "; ".join(_words(curve, kept) for curve, kept in cleaned if kept)
    legend = Markup("").join(_key(curve) for curve, kept in cleaned if kept)
    return Markup(
        '<figure class="chart"><svg viewBox="0 0 {w} {h}" role="img" aria-label="{d}">'
        "<title>{title}</title>{body}</svg><figcaption>{title}<ul class=legend>{legend}</ul>"
        "</figcaption></figure>"
    ).format(
        w=_WIDTH, h=_HEIGHT, d=f"{title}. {described}", title=title, body=Markup("").join(parts),
        legend=legend,
    )  # fmt: skip


def _finite(curve: Curve) -> list[tuple[float, float]]:
    return [(x, y) for x, y in curve.points if y is not None and math.isfinite(y)]


def _range(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = 0.04 * (high - low) or 0.5 * max(abs(high), 1e-6)
    return low - margin, high + margin


def _x(value: float, ends: tuple[float, float]) -> float:
    return _LEFT + (value - ends[0]) / (ends[1] - ends[0]) * (_WIDTH - _LEFT - _RIGHT)


def _y(value: float, ends: tuple[float, float]) -> float:
    return _HEIGHT - _BOTTOM - (value - ends[0]) / (ends[1] - ends[0]) * (_HEIGHT - _TOP - _BOTTOM)


def _ticks(ends: tuple[float, float], least: float = 0.0) -> list[float]:
    """Round numbers, about five of them, within the ends, ``least`` apart or more.

    >>> _ticks((0.0, 1.0))
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> _ticks((0.9, 3.1), least=1)
    [1.0, 2.0, 3.0]
    """
    rough = (ends[1] - ends[0]) / _TICKS
    power = 10 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    step = max(step, least)
    first = math.ceil(ends[0] / step - 1e-9)
    last = math.floor(ends[1] / step + 1e-9)
    return [float(f"{k * step:.12g}") for k in range(first, last + 1)]


def _axes(xs: tuple[float, float], ys: tuple[float, float], x_label: str, y_label: str) -> Markup:
    parts = []
    for value in _ticks(ys):
        y = f"{_y(value, ys):.1f}"
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(_text(f"{value:g}", f'x="{_LEFT - 6}" y="{y}" dy="4" text-anchor="end"'))
    below, middle = _HEIGHT - _BOTTOM + 18, (_TOP + _HEIGHT - _BOTTOM) / 2
    for value in _ticks(xs, least=1):  # epochs and steps are counted
        parts.append(_text(f"{value:g}", f'x="{_x(value, xs):.1f}" y="{below}" {_CENTRED}'))
    parts.append(_text(x_label, f'x="{(_LEFT + _WIDTH) / 2:.0f}" y="{_HEIGHT - 5}" {_CENTRED}'))
    turned = f'transform="translate(14 {middle:.0f}) rotate(-90)"'
    parts.append(_text(y_label, f"{turned} {_CENTRED}"))
    return Markup("".join(parts))


def _text(words: str, attributes: str) -> str:
    return f"<text {attributes}>{escape(words)}</text>"


def _line(
    curve: Curve,
    points: list[tuple[float, float]],
    xs: tuple[float, float],
    ys: tuple[float, float],
) -> Markup:
    places = [(_x(x, xs), _y(y, ys)) for x, y in points]
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dash = _DASHES[curve.dash % len(_DASHES)]
    colour = f"c{curve.colour % COLOURS}"
    line = f'<polyline class="{colour}" stroke-dasharray="{dash}" points="{drawn}"/>'
    if len(places) <= 30:
        line += "".join(
            f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in places
        )
    return Markup(line)


def _key(curve: Curve) -> Markup:
    dash = _DASHES[curve.dash % len(_DASHES)]
    return Markup(
        '<li><svg viewBox="0 0 28 8" width="28" height="8" aria-hidden="true">'
        '<line class="c{c}" x1="0" x2="28" y1="4" y2="4" stroke-dasharray="{d}"/></svg> {name}</li>'
    ).format(c=curve.colour % COLOURS, d=dash, name=curve.name)


def _words(curve: Curve, points: list[tuple[float, float]]) -> str:
    return f"{curve.name}: from {points[0][1]:.4g} to {points[-1][1]:.4g} over {len(points)} points"
