"""Every float16 and bfloat16 there is, through each one-argument operation and its derivative."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.proof.every_input import FUNCTIONS, errors, every, program

# ulp: (value, derivative), for both dtypes.
LIMITS = {
    "relu": (0, 0),
    "leaky_relu": (0.5, 0),
    "prelu": (0.5, 0),
    "unit_step": (0, 0),
    "signum": (0, 0),
}
OTHERS = (4, 1)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_value_of_half_precision(name, dtype):
    function = FUNCTIONS[name]
    (inputs,) = every(dtype)
    assert len(inputs) == 65536
    found = errors(function, program(function), inputs)
    for worst, limit in zip(found, LIMITS.get(name, OTHERS), strict=True):
        assert worst.ulp <= limit, worst


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_sample_of_float32(name):
    """All of them: scripts/every_float32."""
    function = FUNCTIONS[name]
    chosen = np.random.default_rng(0).integers(0, 2**32, 1 << 18, dtype=np.uint32)
    found = errors(function, program(function), chosen.view(np.float32))
    for worst, limit in zip(found, LIMITS.get(name, OTHERS), strict=True):
        assert worst.ulp <= limit, worst


def test_an_error_of_two_units_is_seen():
    function = FUNCTIONS["sigmoid"]
    (inputs,) = every("bfloat16")

    def wrong(a):
        return tuple(b + 2 * jnp.finfo(b.dtype).eps for b in program(function)(a))

    assert min(worst.ulp for worst in errors(function, wrong, inputs)) > 1
