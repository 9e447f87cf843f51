"""What the page shows of one example's way forward and back: pictures, formulas, terms."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from jcnn.axes import times
from jcnn.errors import UserError
from jcnn.layers import Conv, ConvTranspose, Dense, Residual
from jcnn.report import pictures
from jcnn.report.formulas import formula
from jcnn.report.passes import Pass, Passage
from jcnn.report.pictures import Picture
from jcnn.report.sums import place_read
from jcnn.report.terms import Terms, kernel_terms
from jcnn.report.written import html

# Layers that show nothing that the layer before doesn't.
_SILENT = ("flatten", "reshape", "dropout")
_MOST_PLAYED = 4096  # values of a plane that the page's script is given
_MOST_OUTPUTS = 20
_LISTED = 5

Taps = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Shown:
    """A picture with its formula.

    Attributes:
        picture: The picture.
        formula: What it is a picture of.
        note: A word on it.
    """

    picture: Picture
    formula: Markup
    note: str = ""


@dataclass(frozen=True)
class TermView:
    """The gradient of one tap, term by term.

    Attributes:
        terms: The terms.
        pictures: δ, what the tap reads, their product.
        data: What the page's script needs to show any other tap; "" where the planes are large.
    """

    terms: Terms
    pictures: tuple[Shown, ...]
    data: Markup

    @property
    def largest(self) -> list[tuple[tuple[int, ...], float, float, float]]:
        """The terms of largest magnitude."""
        return self.terms.largest(_LISTED)

    @property
    def rest(self) -> float:
        """The sum of the other terms."""
        return self.terms.total - sum(product for *_, product in self.largest)


@dataclass(frozen=True)
class LayerView:
    """One layer of one example's pass."""

    name: str
    type: str
    shape: str
    formulas: tuple[tuple[str, Markup], ...]
    source: str
    pictures: tuple[Shown, ...]
    terms: TermView | None


def check_taps(passages: Iterable[Passage], taps: Taps) -> None:
    """Refuse taps of layers that there are not, and of those without a kernel over places."""
    kinds = (Conv, ConvTranspose)
    names = [passage.name for passage in passages if isinstance(passage.layer, kinds)]
    for name in taps:
        if name not in names:
            some = f"expected one of {', '.join(names)}" if names else "the network has no such"
            raise UserError(f"--tap {name}: {some}, a conv or conv_transpose layer")


def layer_views(passed: Pass, taps: Taps) -> list[LayerView]:
    """Show every layer of a pass, blocks before what is in them."""
    return [_view(passage, taps.get(passage.name)) for passage in passed.walk()]


def _view(passage: Passage, tap: Sequence[int] | None) -> LayerView:
    layer, said = passage.layer, formula(passage.layer)
    formulas = [("forward", said.forward), ("back", said.back)]
    formulas += [("kernel", said.kernel)] * ("w" in passage.grads)
    formulas += [("bias", said.bias)] * ("b" in passage.grads and bool(said.bias))
    shown: list[Shown] = [] if layer.type in _SILENT else _both_ways(passage)
    if passage.reached is not None:
        shown += _pool(passage)
    with_kernel = isinstance(layer, Conv | ConvTranspose)
    if with_kernel:
        shown += _kernels(passage)
    elif isinstance(layer, Dense):
        picture = pictures.matrix(passage.grads["w"], "Gradient of the weights")
        shown.append(_shown(picture, "∂L/∂W = aᵀ · δ", "a row per input, a column per output"))
    terms = _term_view(kernel_terms(passage, tap)) if with_kernel else None
    if tap is not None and terms is None:
        kernel_terms(passage, tap)  # says which layers have taps
    marked = tuple((what, html(text)) for what, text in formulas)
    shape = f"{times(passage.x.shape)} → {times(passage.y.shape)}"
    return LayerView(passage.name, layer.type, shape, marked, said.source, tuple(shown), terms)


def _both_ways(passage: Passage) -> list[Shown]:
    """Show z and δ beside it, the same channels of both."""
    channels = pictures.strongest(passage.dy) if passage.y.ndim > 2 else None
    z = pictures.signed(passage.y, f"Output of {passage.name}", channels)
    dy = pictures.signed(passage.dy, f"δ of {passage.name}", channels)
    note = ""
    if channels is not None and len(channels) < passage.y.shape[-1]:
        note = f"the {len(channels)} channels of {passage.y.shape[-1]} with the largest δ"
    sums = isinstance(passage.layer, Residual)
    return [
        _shown(z, "z = layers(a) + shortcut(a)" if sums else "z", note),
        _shown(dy, "δ = ∂L/∂z", note),
    ]


def _kernels(passage: Passage) -> list[Shown]:
    """The kernels and their gradients, of many those with the largest gradients."""
    w, dw = np.asarray(passage.params["w"]), passage.grads["w"]
    chosen = pictures.strongest(dw.reshape(*dw.shape[:-2], -1))
    return [
        _shown(pictures.kernels(w, "Kernels", chosen), "w[k, c, d]"),
        _shown(pictures.kernels(dw, "Gradient of the kernels", chosen), "∂L/∂w[k, c, d]"),
    ]


def _pool(passage: Passage) -> list[Shown]:
    assert passage.reached is not None
    channels = pictures.strongest(passage.dx) if passage.x.ndim > 2 else None
    reached = pictures.signed(passage.reached, "Where a δ of one goes", channels)
    back = pictures.signed(passage.dx, f"Where δ goes behind {passage.name}", channels)
    winners = "max" in passage.layer.type
    return [
        _shown(
            reached, "1 where a won" if winners else "∂(Σ z)/∂a", "the pool's winners" * winners
        ),
        _shown(back, "∂L/∂a: where δ goes"),
    ]


def _shown(picture: Picture, text: str, note: str = "") -> Shown:
    return Shown(picture, html(text), note)


def _term_view(terms: Terms) -> TermView:
    *k, c, d = terms.tap
    where = f"[{', '.join(map(str, k))}, {c}, {d}]"
    g = terms.geometry
    there = place_read(g.strides, g.dilation, flipped=terms.flipped)
    ends = ("a[m, c]", f"δ[{there}, d]"), ("δ[m, d]", f"a[{there}, c]")
    first, second = ends[0] if terms.transposed else ends[1]
    read = pictures.plane(terms.read, f"What tap {where} reads")
    shown = (
        _shown(pictures.plane(terms.steady, f"Channel {d}"), first, "stays where it is"),
        _shown(read, second, "moves with the tap"),
        _shown(pictures.plane(terms.products, "The terms"), f"{first} · {second}"),
    )
    small = max(terms.moving.size, terms.steady.size) <= _MOST_PLAYED and terms.moving.ndim <= 2
    return TermView(terms, shown, _playable(terms) if small else Markup(""))


def _playable(terms: Terms) -> Markup:
    """Write planes and geometry as JSON that can stand within a script element."""
    g = terms.geometry
    flat = [1] if g.rank == 1 else []  # a signal is an image of one row

    def plane(array: np.ndarray) -> dict[str, Any]:
        shape = flat + list(array.shape)
        return {"shape": shape, "values": [float(f"{v:.5g}") for v in array.ravel()]}

    data = {
        "steady": plane(terms.steady),
        "rules": plane(terms.rules)["values"],
        "moving": plane(terms.moving),
        "window": flat + list(g.window),
        "strides": flat + list(g.strides),
        "dilation": flat + list(g.dilation),
        "flipped": terms.flipped,
        "tap": ([0] if flat else []) + list(terms.tap[:-2]),
        "channels": list(terms.tap[-2:]),
        "rank": g.rank,
    }
    return Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"))


@dataclass(frozen=True)
class OutputRow:
    """One output of the last layer: its class, value, probability and δ."""

    name: str
    output: float
    probability: float
    delta: float
    delta_share: float


def output_rows(passed: Pass, probabilities: np.ndarray, names: Sequence[str]) -> list[OutputRow]:
    """List outputs and their δ, of many classes those of largest δ."""
    last = passed.layers[-1]
    output, delta = np.ravel(last.y), np.ravel(last.dy)
    if len(output) != len(names):  # one logistic output for two classes
        names, probabilities = (f"{names[1]} rather than {names[0]}",), probabilities[1:]
    largest = max(float(np.abs(delta).max()), 1e-30)
    chosen = np.sort(np.argsort(-np.abs(delta), kind="stable")[:_MOST_OUTPUTS])
    return [
        OutputRow(
            names[int(k)], float(output[k]), float(probabilities[k]), float(delta[k]),
            float(delta[k]) / largest,
        )
        for k in chosen
    ]  # fmt: skip
