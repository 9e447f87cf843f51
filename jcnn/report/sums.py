"""The formulas of layers that sum products with a kernel, as their keys have them.

Letters are those of :mod:`jcnn.report.formulas`; s is the stride, r the dilation. Which place of
its input an output begins at depends on the padding, and is left out, as the lectures leave it.
"""

from __future__ import annotations

from collections.abc import Sequence

from jcnn.layers import Conv, ConvTranspose
from jcnn.report.written import Formula

_SOURCE = "[L] Back-Prop of Convolution is Correlation; [T] Gradient for Weight term"


PerAxis = int | Sequence[int]


def place_read(strides: PerAxis, dilation: PerAxis, *, flipped: bool) -> str:
    """Return where tap k of the window at place m reads: m − k where the kernel is flipped.

    >>> place_read((2, 2), 1, flipped=False)
    's m + k'
    """
    return f"{_scaled('s', strides)}m {'−' if flipped else '+'} {_scaled('r', dilation)}k"


def weighted_sum(layer: Conv) -> Formula:
    """A ``conv``: a convolution, or a correlation, whose gradients are the other's."""
    s, dilated = _scaled("s", layer.strides), bool(_scaled("r", layer.dilation))
    read = place_read(layer.strides, layer.dilation, flipped=not layer.correlate)
    tap = f"m′ − {s}m" if layer.correlate else f"{s}m − m′"
    # The lecture's form, where each place of the input meets one tap at most.
    back = f"Σ_{{m, k with {read} = m′}} w[k, c, d]" if dilated else f"Σ_{{m}} w[{tap}, c, d]"
    forward = f"Σ_{{k}} w[k, c, d] · a[{read}, c]"
    if not layer.correlate and not dilated:
        forward = f"Σ_{{m′}} w[{tap}, c, d] · a[m′, c]"
    plain = not s and not dilated
    ends = (": a convolution" if layer.correlate else ": a correlation", ": a correlation")
    back_is, kernel_is = ends if plain else ("", "")
    return Formula(
        f"z[m, d] = Σ_{{c}} {forward}{_bias(layer, 'm')}{_where(layer)}",
        f"∂L/∂a[m′, c] = Σ_{{d}} {back} · δ[m, d]{back_is}",
        f"∂L/∂w[k, c, d] = Σ_{{m}} δ[m, d] · a[{read}, c]{kernel_is}",
        _bias_gradient(layer, "m"),
        "[L] Convolution versus Correlation" if layer.correlate else _SOURCE,
    )


def spread_sum(layer: ConvTranspose) -> Formula:
    """A ``conv_transpose``: the adjoint of a correlation."""
    at = place_read(layer.strides, layer.dilation, flipped=False)
    if _scaled("r", layer.dilation):
        forward = f"Σ_{{m, k with {at} = n}} w[k, c, d]"
    else:
        forward = f"Σ_{{m}} w[n − {_scaled('s', layer.strides)}m, c, d]"
    return Formula(
        f"z[n, d] = Σ_{{c}} {forward} · a[m, c]{_bias(layer, 'n')}{_where(layer)}",
        f"∂L/∂a[m, c] = Σ_{{d}} Σ_{{k}} w[k, c, d] · δ[{at}, d]: a correlation",
        f"∂L/∂w[k, c, d] = Σ_{{m}} a[m, c] · δ[{at}, d]: a correlation",
        _bias_gradient(layer, "n"),
        "the closed triple: the adjoint of a correlation",
    )


def _scaled(letter: str, per_axis: PerAxis) -> str:
    """The factor of an index, where it is not 1."""
    sizes = [per_axis] if isinstance(per_axis, int) else per_axis
    return "" if all(n == 1 for n in sizes) else f"{letter} "


def _bias(layer: Conv | ConvTranspose, place: str) -> str:
    return {"channel": " + b[d]", "position": f" + b[{place}, d]", "none": ""}[layer.bias]


def _bias_gradient(layer: Conv | ConvTranspose, place: str) -> str:
    return {
        "channel": f"∂L/∂b[d] = Σ_{{{place}}} δ[{place}, d]",
        "position": f"∂L/∂b[{place}, d] = δ[{place}, d]",
        "none": "",
    }[layer.bias]


def _where(layer: Conv | ConvTranspose) -> str:
    """What the letters stand for, and which channels an output reads."""
    said = []
    if _scaled("s", layer.strides):
        said.append("s the stride")
    if _scaled("r", layer.dilation):
        said.append("r the dilation")
    if layer.groups > 1:
        said.append("c of the group of d")
    if isinstance(layer, Conv) and layer.connections is not None:
        said.append("c of the planes that d is connected to")
    return "".join(f", {each}" for each in said)
