"""The formula of each layer, forward and back, as the lectures write it.

a is a layer's input, z its output and δ the gradient of the loss by z; m and m′ are places, c and d
channels of input and output, k a tap of the kernel. [T] is the ECE 544 tutorial, [L] lecture 9.
"""

from __future__ import annotations

from dataclasses import replace

from jcnn.layers import Conv, ConvTranspose, Layer
from jcnn.losses import Loss
from jcnn.report.sums import spread_sum, weighted_sum
from jcnn.report.written import Formula

_BIAS = "∂L/∂b[d] = Σ_{m} δ[m, d]"
_SPREAD = "∂L/∂a[m′, c] = Σ_{m with m′ in its window} "
_KEPT = "the same values in their places: ∂L/∂a = δ, put back"

_FORMULAS = {
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
    if isinstance(layer, Conv):
        return weighted_sum(layer)
    if isinstance(layer, ConvTranspose):
        return spread_sum(layer)
    if known := _FORMULAS.get(layer.type):
        biased = getattr(layer, "bias", True)
        return (
            known
            if biased
            else replace(
                known, forward=known.forward.replace(" + b[d]", "").replace(" + b", ""), bias=""
            )
        )
    said = (type(layer).__doc__ or layer.type).splitlines()[0]
    return Formula(said.replace("``", ""), "∂L/∂a by its rule")


def _without_bias(said: Formula) -> Formula:
    forward = said.forward.replace(" + b[d]", "").replace(" + b", "")
    return replace(said, forward=forward, bias="")


def loss_formula(loss: Loss) -> tuple[str, str]:
    """Return the loss of one example by its output z, and δ of the last layer."""
    by = " / T" if getattr(loss, "temperature", 1.0) != 1.0 else ""
    difference = "(p[d] − t[d])" if by or loss.class_weights else "p[d] − t[d]"
    value, delta, letters = {
        "softmax_cross_entropy": (
            "−Σ_{d} t[d] · log p[d]", f"{difference}{by}", f", p = softmax(z{by}), t the target",
        ),
        "binary_cross_entropy": (
            "−mean_{d} (t[d] log σ(z[d]) + (1 − t[d]) log(1 − σ(z[d])))",
            "(σ(z[d]) − t[d]) / outputs", "",
        ),
        "mean_squared_error": ("mean_{d} (z[d] − t[d])²", "2 (z[d] − t[d]) / outputs", ""),
    }[loss.name]  # fmt: skip
    if loss.class_weights is None:
        return f"L = {value}{letters}", f"δ[d] = {delta}"
    letters += ", v the weight of the example's class"
    sign, value = ("−", value[1:]) if value.startswith("−") else ("", value)
    return f"L = {sign}v · {value}{letters}", f"δ[d] = v · {delta}"
