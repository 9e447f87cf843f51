"""The formula of each layer, forward and back, as the lectures write it.

a is a layer's input, z its output and δ the gradient of the loss by z; m and m′ are places, c and d
channels of input and output, k a tap of the kernel. [T] is the ECE 544 tutorial, [L] lecture 9.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from markupsafe import Markup, escape

from jcnn.layers import Conv, Layer
from jcnn.losses import Loss


@dataclass(frozen=True)
class Formula:
    """A layer's formulas; ``_{…}`` is a subscript.

    Attributes:
        forward: What it computes.
        back: ∂L/∂a, what it passes back.
        kernel: ∂L/∂w, where it has one.
        bias: ∂L/∂b, likewise.
        source: Where the lectures derive it.
    """

    forward: str
    back: str
    kernel: str = ""
    bias: str = ""
    source: str = ""


_BIAS = "∂L/∂b[d] = Σ_{m} δ[m, d]"
_SPREAD = "∂L/∂a[m′, c] = Σ_{m with m′ in its window} "
_KEPT = "the same values in their places: ∂L/∂a = δ, put back"

_FORMULAS = {
    "conv": Formula(
        "z[m, d] = Σ_{c} Σ_{m′} w[m − m′, c, d] · a[m′, c] + b[d]",
        "∂L/∂a[m′, c] = Σ_{d} Σ_{m} w[m − m′, c, d] · δ[m, d]: a correlation",
        "∂L/∂w[k, c, d] = Σ_{m} δ[m, d] · a[m − k, c]: a correlation",
        _BIAS,
        "[L] Back-Prop of Convolution is Correlation; [T] Gradient for Weight term",
    ),
    "correlation": Formula(
        "z[m, d] = Σ_{c} Σ_{k} w[k, c, d] · a[m + k, c] + b[d]",
        "∂L/∂a[m′, c] = Σ_{d} Σ_{m} w[m′ − m, c, d] · δ[m, d]: a convolution",
        "∂L/∂w[k, c, d] = Σ_{m} δ[m, d] · a[m + k, c]: a correlation",
        _BIAS,
        "[L] Convolution versus Correlation",
    ),
    "conv_transpose": Formula(
        "z[n, d] = Σ_{c} Σ_{m} w[n − s m, c, d] · a[m, c] + b[d], s the stride",
        "∂L/∂a[m, c] = Σ_{d} Σ_{k} w[k, c, d] · δ[s m + k, d]: a correlation",
        "∂L/∂w[k, c, d] = Σ_{m} a[m, c] · δ[s m + k, d]: a correlation",
        "∂L/∂b[d] = Σ_{n} δ[n, d]",
        "the closed triple: the adjoint of a correlation",
    ),
    "patch_whitening": Formula(
        "z[m, d] = Σ_{c} Σ_{k} w[k, c, d] · a[m + k, c] + b[d], w of the data and not learned",
        "∂L/∂a[m′, c] = Σ_{d} Σ_{m} w[m′ − m, c, d] · δ[m, d]",
        bias=_BIAS,
    ),
    "dense": Formula(
        "z = a · W + b", "∂L/∂a = δ · Wᵀ", "∂L/∂W = aᵀ · δ", "∂L/∂b = δ",
        "[T] The forward Convolution Operation",
    ),
    "relu": Formula(
        "z = max(a, 0)", "∂L/∂a = δ where a > 0, else 0", source="[L] ReLU; ReLU′(0) = 0"
    ),
    "leaky_relu": Formula(
        "z = a where a > 0, else slope · a", "∂L/∂a = δ where a > 0, else slope · δ"
    ),
    "prelu": Formula(
        "z = a where a > 0, else slope[c] · a", "∂L/∂a = δ where a > 0, else slope[c] · δ"
    ),
    "sigmoid": Formula(
        "z = σ(a) = 1 / (1 + exp(−a))", "∂L/∂a = δ · z (1 − z)", source="[L] Written Example"
    ),
    "tanh": Formula("z = tanh(a)", "∂L/∂a = δ · (1 − z²)"),
    "scaled_tanh": Formula(
        "z = 1.7159 tanh(2 a / 3)", "∂L/∂a = δ · 1.7159 · ⅔ · (1 − tanh²(2 a / 3))"
    ),
    "gelu": Formula(
        "z = a · Φ(a), Φ(a) = (1 + erf(a / √2)) / 2",
        "∂L/∂a = δ · (Φ(a) + a φ(a)), φ(a) = exp(−a² / 2) / √(2π)",
    ),
    "softmax": Formula(
        "z[d] = exp(a[d]) / Σ_{j} exp(a[j])", "∂L/∂a[d] = z[d] (δ[d] − Σ_{j} δ[j] z[j])"
    ),
    "unit_step": Formula("z = 1 where a > 0, else 0", "∂L/∂a = 0: for deployment"),
    "signum": Formula("z = sign(a)", "∂L/∂a = 0: for deployment"),
    "max_pool": Formula(
        "z[m, c] = max_{m′ in the window} a[m′, c]",
        _SPREAD + "δ[m, c] where a[m′, c] won, else 0",
        source="[L] Back-Prop for Max Pooling; a tie goes to the first",
    ),
    "relu_max_pool": Formula(
        "z[m, c] = max_{m′ in the window} max(a[m′, c], 0)",
        _SPREAD + "δ[m, c] where a[m′, c] won and is above 0, else 0",
        source="[L] Back-Prop for Max Pooling",
    ),
    "global_max_pool": Formula(
        "z[c] = max_{m} a[m, c]", "∂L/∂a[m, c] = δ[c] where a[m, c] won, else 0",
        source="[L] Written Example",
    ),
    "average_pool": Formula(
        "z[m, c] = mean_{m′ in the window} a[m′, c]", _SPREAD + "δ[m, c] / window",
        source="[L] Other types of pooling",
    ),
    "global_average_pool": Formula("z[c] = mean_{m} a[m, c]", "∂L/∂a[m, c] = δ[c] / places"),
    "square_pool": Formula(
        "z[m, c] = Σ_{m′ in the window} a[m′, c]²", _SPREAD + "2 a[m′, c] · δ[m, c]"
    ),
    "decimate": Formula(
        "z[m, c] = a[s m, c]", "∂L/∂a[s m, c] = δ[m, c], 0 between",
        source="[L] Other types of pooling",
    ),
    "pad": Formula("a, surrounded by a value", "∂L/∂a = δ, cut to the size of a"),
    "flatten": Formula("the same values in one row", _KEPT),
    "reshape": Formula("the same values under another shape", _KEPT),
    "dropout": Formula("z = a: in evaluation nothing is dropped", "∂L/∂a = δ"),
    "batch_norm": Formula(
        "z = scale[c] · (a − mean[c]) / √(variance[c] + ε) + offset[c], running statistics",
        "∂L/∂a = δ · scale[c] / √(variance[c] + ε)",
    ),
    "local_response_norm": Formula(
        "z[m, c] = a[m, c] / s^power, s = offset + scale · Σ_{c′ near c} a[m, c′]²",
        "∂L/∂a[m, c] = δ[m, c] s^−power "
        "− 2 power scale a[m, c] Σ_{c′ near c} δ[m, c′] z[m, c′] / s[m, c′]",
    ),
    "residual": Formula(
        "z = layers(a) + shortcut(a)", "∂L/∂a = what both paths pass back, added: each gets δ"
    ),
}  # fmt: skip


def formula(layer: Layer) -> Formula:
    """Return a layer's formulas; of a layer that has none here, what its docstring says."""
    key = "correlation" if isinstance(layer, Conv) and layer.correlate else layer.type
    if key in _FORMULAS:
        return _FORMULAS[key]
    said = (type(layer).__doc__ or layer.type).splitlines()[0]
    return Formula(said.replace("``", ""), "∂L/∂a by its rule")


def loss_formula(loss: Loss) -> tuple[str, str]:
    """Return the loss of one example by its output z, and δ of the last layer."""
    divided = getattr(loss, "temperature", 1.0) != 1.0
    return {
        "softmax_cross_entropy": (
            f"L = −Σ_{{d}} t[d] · log p[d], p = softmax(z{' / T' * divided}), t the target",
            "δ[d] = (p[d] − t[d]) / T" if divided else "δ[d] = p[d] − t[d]",
        ),
        "binary_cross_entropy": (
            "L = −mean_{d} (t[d] log σ(z[d]) + (1 − t[d]) log(1 − σ(z[d])))",
            "δ[d] = (σ(z[d]) − t[d]) / outputs",
        ),
        "mean_squared_error": ("L = mean_{d} (z[d] − t[d])²", "δ[d] = 2 (z[d] − t[d]) / outputs"),
    }.get(loss.name, (f"L = {loss.name}(z, t)", "δ = ∂L/∂z"))


def html(text: str) -> Markup:
    """Write a formula's subscripts for the page.

    >>> html("Σ_{m} δ[m]")
    Markup('Σ<sub>m</sub> δ[m]')
    """
    return Markup(re.sub(r"_\{([^}]*)\}", r"<sub>\1</sub>", str(escape(text))))
