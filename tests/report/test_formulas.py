"""The formulas that a run's page shows are those of the layers and the loss as they are set."""

from __future__ import annotations

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import ops
from jcnn.layers import Conv, ConvTranspose, Dense, PatchWhitening
from jcnn.losses import AnyLoss, SoftmaxCrossEntropy
from jcnn.report.formulas import formula, loss_formula
from jcnn.report.sums import place_read

LOSSES = get_args(get_args(AnyLoss)[0])


def test_a_plain_convolution_is_the_lectures():
    said = formula(Conv(features=2, window=3))
    assert said.forward == "z[m, d] = Σ_{c} Σ_{m′} w[m − m′, c, d] · a[m′, c] + b[d]"
    assert said.back == "∂L/∂a[m′, c] = Σ_{d} Σ_{m} w[m − m′, c, d] · δ[m, d]: a correlation"
    assert said.kernel == "∂L/∂w[k, c, d] = Σ_{m} δ[m, d] · a[m − k, c]: a correlation"
    assert said.bias == "∂L/∂b[d] = Σ_{m} δ[m, d]"


def test_a_correlation_at_a_stride_with_a_bias_per_position():
    said = formula(Conv(features=2, window=3, strides=2, bias="position", correlate=True))
    forward = "z[m, d] = Σ_{c} Σ_{k} w[k, c, d] · a[s m + k, c] + b[m, d], s the stride"
    assert said.forward == forward
    assert said.back == "∂L/∂a[m′, c] = Σ_{d} Σ_{m} w[m′ − s m, c, d] · δ[m, d]"
    assert said.kernel == "∂L/∂w[k, c, d] = Σ_{m} δ[m, d] · a[s m + k, c]"
    assert said.bias == "∂L/∂b[m, d] = δ[m, d]"


def test_dilation_groups_and_no_bias():
    said = formula(Conv(features=4, window=3, strides=(2, 1), dilation=2, groups=2, bias="none"))
    assert said.forward == (
        "z[m, d] = Σ_{c} Σ_{k} w[k, c, d] · a[s m − r k, c], "
        "s the stride, r the dilation, c of the group of d"
    )
    assert "Σ_{m, k with s m − r k = m′} w[k, c, d]" in said.back
    assert said.bias == ""


def test_a_transposed_convolution():
    said = formula(ConvTranspose(features=2, window=4, strides=2, bias="none"))
    assert said.forward == "z[n, d] = Σ_{c} Σ_{m} w[n − s m, c, d] · a[m, c], s the stride"
    assert said.kernel == "∂L/∂w[k, c, d] = Σ_{m} a[m, c] · δ[s m + k, d]: a correlation"


@pytest.mark.parametrize("layer", [Dense(features=2, bias=False), PatchWhitening(bias=False)])
def test_layers_without_biases_show_none(layer):
    said = formula(layer)
    assert "b" not in said.forward.split(", w of")[0].replace("z", "")
    assert said.bias == ""


@pytest.mark.parametrize("flipped", [False, True])
def test_a_tap_reads_where_the_formula_says(flipped):
    """Of x[n] = n; where a flipped kernel's window begins is left out, and the same for all."""
    x = jnp.arange(20.0)[None, :, None]
    operation = ops.convolve if flipped else ops.correlate
    s, r, places = 2, 3, []
    for k in range(3):
        w = jnp.zeros((3, 1, 1)).at[k].set(1)
        places.append(operation(x, w, strides=s, dilation=r)[0, :, 0])
    text = place_read(s, r, flipped=flipped).replace("−", "-").replace("s m", "s*m")
    expected = np.array(
        [
            [eval(text.replace("r k", "r*k"), {"s": s, "r": r, "m": m, "k": k}) for m in range(7)]
            for k in range(3)
        ]
    )
    offset = np.asarray(places) - expected
    np.testing.assert_array_equal(offset, offset[0, 0])


@pytest.mark.parametrize("weights", [None, (1.0, 5.0)])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_losses_derivative_is_what_is_printed(loss, weights):
    cases = [loss(class_weights=weights)]
    if loss is SoftmaxCrossEntropy:
        cases += [loss(class_weights=weights, temperature=3.0, label_smoothing=0.2)]
    for each in cases:
        _check_delta(each)


def _check_delta(loss):
    z = jnp.array([[0.5, -0.7]]) if loss.name != "binary_cross_entropy" else jnp.array([[0.5]])
    label = jnp.array([1])
    expected = jax.grad(lambda z: loss.per_example(z, label, ops).sum())(z)[0]
    smoothing, divided = getattr(loss, "label_smoothing", 0.0), getattr(loss, "temperature", 1.0)
    target = jnp.array([0.0, 1.0])
    if loss.name == "mean_squared_error":
        target = jnp.array([loss.targets[0], loss.targets[1]])
    elif loss.name == "binary_cross_entropy":
        target = jnp.array([1.0])
    target = target * (1 - smoothing) + smoothing / 2
    _, delta = loss_formula(loss)
    python = delta.split(" = ")[1]
    for written, read in (("[d]", ""), ("·", "*"), ("−", "-"), ("σ", "sigmoid"), ("2 (", "2 * (")):
        python = python.replace(written, read)
    values = {
        "z": z[0], "t": target, "p": jax.nn.softmax(z[0] / divided), "T": divided,
        "v": 5.0, "outputs": z.shape[-1], "sigmoid": jax.nn.sigmoid,
    }  # fmt: skip
    np.testing.assert_allclose(eval(python, values), expected, rtol=1e-5)
