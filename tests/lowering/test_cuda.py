"""Programs exported for CUDA: their convolutions are of the forms that XLA gives to cuDNN."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax import export

import jcnn
from jcnn import ops
from jcnn.training import Step
from tests.selection import slow_unless

CONFIGS = [
    path
    for path in sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.toml"))
    if 'type = "conv' in path.read_text()
]
CONVOLUTION = re.compile(
    r"stablehlo\.convolution\(%\w+, %(?P<kernel>\w+)\) dim_numbers = (?P<numbers>\S.*?), "
    r"window = \{(?P<window>[^}]*)\}"
)
FORWARD, INPUT, KERNEL = "forward", "input gradient", "kernel gradient"


def exported(function, *shapes):
    """The text of a program for CUDA; nothing is compiled."""
    return export.export(jax.jit(function), platforms=["cuda"])(*shapes).mlir_module()


def forms(program):
    """What cuDNN has each convolution for; fails where it is none of the three."""
    found = []
    for function in program.split("func.func"):  # names are those of a function alone
        reversed_kernels = set(re.findall(r"%(\w+) = stablehlo\.reverse", function))
        found += [form(each, reversed_kernels) for each in CONVOLUTION.finditer(function)]
    return found


def form(found, reversed_kernels):
    space = ", ".join(map(str, range(found["numbers"].count(",") // 3 - 1)))
    images = f"[b, {space}, f]x[{space}, i, o]->[b, {space}, f]"
    batch_contracted = f"[f, {space}, b]x[i, {space}, o]->[{space}, b, f]"
    spread = "lhs_dilate" in found["window"]
    if found["numbers"] == batch_contracted:
        assert not spread, found[0]
        return KERNEL
    assert found["numbers"] == images, found[0]
    if found["kernel"] in reversed_kernels:
        assert "stride" not in found["window"], found[0]
        return INPUT
    assert not spread, found[0]
    return FORWARD


def floats(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


CALLS = {
    "plain": ({}, floats(4, 9, 9, 4), floats(3, 3, 4, 8)),
    "strided, padded": ({"strides": 2, "padding": 1}, floats(4, 9, 9, 4), floats(3, 3, 4, 8)),
    "dilated": ({"dilation": 2, "padding": "SAME"}, floats(4, 9, 9, 4), floats(3, 3, 4, 8)),
    "1x1": ({}, floats(4, 9, 9, 4), floats(1, 1, 4, 8)),
    "depthwise": ({"groups": 4}, floats(4, 9, 9, 4), floats(3, 3, 1, 4)),
    "signals": ({"strides": 3}, floats(4, 30, 4), floats(5, 4, 8)),
    "volumes": ({}, floats(2, 6, 6, 6, 2), floats(3, 3, 3, 2, 4)),
    "many channels": ({"padding": "SAME"}, floats(32, 16, 16, 64), floats(3, 3, 64, 64)),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_correlation_and_its_gradients(name):
    options, x, w = CALLS[name]

    def pulled(x, w):
        y, pull = jax.vjp(partial(ops.correlate, **options), x, w)
        return y, pull(y)

    program = exported(pulled, x, w)
    assert sorted(forms(program)) == [FORWARD, INPUT, KERNEL]
    for foreign in ("while", "dot_general", "custom_call"):
        assert f"stablehlo.{foreign}" not in program


def test_a_transposed_convolution_is_an_input_gradient():
    program = exported(
        partial(ops.convolve_transpose, strides=2), floats(4, 5, 5, 4), floats(2, 2, 4, 8)
    )
    assert CONVOLUTION.findall(program)
    assert "lhs_dilate = [2, 2]" in program


def test_what_is_no_such_form_is_found():
    def with_channels_first(x, w):
        return jax.lax.conv_general_dilated(x, w, (1, 1), "VALID")

    program = exported(with_channels_first, floats(4, 4, 9, 9), floats(8, 4, 3, 3))
    with pytest.raises(AssertionError, match="dim_numbers"):
        forms(program)


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    slow_unless(lambda path: path.stem == "digits", CONFIGS, lambda path: path.stem),
)
def test_a_config_s_step(path):
    experiment = jcnn.load_experiment(path)
    step, size = Step(experiment), experiment.training.batch_size
    y = jax.ShapeDtypeStruct((size,), jnp.int32)
    state, key = jax.eval_shape(step.init), jax.eval_shape(jax.random.key, 0)
    program = exported(step, state, floats(size, *experiment.input_shape), y, key)
    found = forms(program)
    layers = found.count(KERNEL)
    assert layers > 0
    assert found.count(FORWARD) >= layers
    assert found.count(INPUT) >= layers - 1
    assert "stablehlo.while" not in program
    assert "select_and_scatter" not in program
