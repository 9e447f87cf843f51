"""GELU's own: tails, minimum, higher derivatives, and the fit that float32 is computed by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jcnn import ops
from jcnn.ops.gelu import _MILLS, _REACH
from tests.ops.pullbacks import assert_close
from tests.tolerances import tolerance

TAIL = np.array([-12.0, -9.0, -5.5, -3.0])


def density(a):
    return np.exp(-0.5 * a * a) / np.sqrt(2 * np.pi)


def test_the_fit_is_mills_ratio():
    t = np.linspace(0, _REACH, 200_001)
    above, below = (np.polynomial.polynomial.polyval(t, c) for c in _MILLS)
    right = 0.5 * special.erfcx(t / np.sqrt(2))
    np.testing.assert_allclose(above / below, right, rtol=6e-9, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_tails_have_their_digits(dtype):
    """Where 1 + erf has none: it is zero from -5.5 on in float32."""
    a = TAIL.astype(dtype).astype(float)
    y, pull = jax.vjp(jax.jit(ops.gelu), jnp.asarray(TAIL, dtype))
    rtol = {"float32": 1e-5, "bfloat16": 4e-3}[dtype]
    assert_close(y, a * special.ndtr(a), rtol=rtol, atol=0)
    slope = special.ndtr(a) + a * density(a)
    assert_close(pull(jnp.ones_like(y))[0], slope, rtol=rtol, atol=0)


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_half_of_the_gradient_comes_through_at_zero(zero):
    y, pull = jax.vjp(ops.gelu, jnp.float32(zero))
    assert y == 0
    assert pull(jnp.float32(1))[0] == 0.5


def test_the_output_does_not_tell_the_slope():
    """Left and right of the minimum, of -0.17 at -0.7518, lie inputs of one output."""
    slope = jax.vmap(jax.grad(ops.gelu))(jnp.array([-0.7517916, -1.0, -0.5]))
    np.testing.assert_allclose(slope[0], 0, atol=1e-7)
    assert slope[1] < 0 < slope[2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_second_and_third_derivative(dtype):
    """f'' = (2 - a^2) φ and f''' = (a^3 - 4 a) φ, at zero too, where the fit has a kink."""
    with jax.enable_x64(dtype is np.float64):
        a = np.concatenate([TAIL, np.linspace(-2, 4, 13)]).astype(dtype)
        second = jax.grad(jax.grad(ops.gelu))
        found = [jax.jit(jax.vmap(f))(a) for f in (second, jax.grad(second))]
        wide = a.astype(float)
        right = [
            (2 - wide**2) * density(wide),
            (wide**3 - 4 * wide) * density(wide),
        ]
        assert_close(found, right, **tolerance(dtype))


def test_nothing_is_nan_that_is_finite():
    """At the largest numbers, whose squares overflow, and at the smallest."""
    limits = jnp.finfo(jnp.float32)
    a = jnp.array([limits.min, -1e20, -1e-38, 0.0, 1e-38, 1e20, limits.max])
    y, pull = jax.vjp(ops.gelu, a)
    second = jax.vmap(jax.grad(jax.grad(ops.gelu)))(jnp.append(a, jnp.array([-jnp.inf, jnp.inf])))
    assert y[0] == y[1] == 0
    assert (y[5:] == a[5:]).all()
    assert pull(jnp.ones_like(y))[0].tolist() == [0, 0, 0.5, 0.5, 0.5, 1, 1]
    assert jnp.isfinite(second).all()
